package native

import (
	"encoding/binary"
	"fmt"
)

// Repeats is columns of a table whose rows come in runs of equal ones, the same runs in all of them, as the columns of a
// resource have for all of its records. A member keeps a row per run; it becomes all rows of the run when a block is made.
type Repeats struct {
	counts []int // rows of each run
	rows   int   // of all runs
}

// Repeatable is a column that can be a member of Repeats.
type Repeatable interface {
	Column
	// writeRuns is writeBody with counts[i] times the row i.
	writeRuns(w *frames, counts []int)
}

// Add adds c as a member, which is the column name of b.
func (r *Repeats) Add(b *Builder, name string, c Repeatable) { b.Add(name, &repeatedColumn{c, r}) }

// EndRun makes a run of rows rows, at least one, of the row that was appended to each member since the last EndRun.
func (r *Repeats) EndRun(rows int) {
	r.counts = append(r.counts, rows)
	r.rows += rows
}

// Rows returns the number of rows in all runs since the last Reset of the Builder.
func (r *Repeats) Rows() int { return r.rows }

// repeatedColumn is one column of Repeats.
type repeatedColumn struct {
	Repeatable // a row per run
	runs       *Repeats
}

func (c *repeatedColumn) Rows() int { return c.runs.rows }

func (c *repeatedColumn) Reset() {
	c.runs.counts, c.runs.rows = emptied(c.runs.counts), 0
	c.Repeatable.Reset()
}

func (c *repeatedColumn) writeBody(w *frames) {
	// SECURITY: rows would get the values of others.
	if n := c.Repeatable.Rows(); n != len(c.runs.counts) {
		panic(fmt.Sprintf("BUG: repeated column has %d rows for %d runs", n, len(c.runs.counts)))
	}
	if c.runs.rows == len(c.runs.counts) { // none is longer than a row
		c.Repeatable.writeBody(w)
		return
	}
	c.writeRuns(w, c.runs.counts)
}

// total returns how many values pieces adds.
func total(ends []uint64, counts []int) (n uint64) {
	from := uint64(0)
	for i, times := range counts {
		to := uint64(i) + 1
		if ends != nil {
			to = ends[i]
		}
		n += (to - from) * uint64(times)
		from = to
	}
	return n
}

// pieces adds values of width bytes each, which stand in p, in pieces: the one with the index i is the values in front of
// ends[i] that are in no piece before it, or the value i if ends is nil. It is added counts[i] times.
func (w *frames) pieces(p []byte, width int, ends []uint64, counts []int) {
	from := 0
	for i, times := range counts {
		to := from + width
		if ends != nil {
			to = int(ends[i]) * width
		}
		w.times(p[from:to], times)
		from = to
	}
}

// steps adds n numbers, each by step above the one before it and the first above v. It returns the last.
func (w *frames) steps(v, step uint64, n int) uint64 {
	for n > 0 {
		at := len(w.stage)
		k := min(n, (frameBytes-at)/8)
		if k == 0 {
			v += step
			w.uint64(v)
			n--
			continue
		}
		w.stage = w.stage[:at+8*k]
		for p := w.stage[at:]; len(p) >= 8; p = p[8:] {
			v += step
			binary.LittleEndian.PutUint64(p, v)
		}
		w.raw += 8 * k
		n -= k
	}
	return v
}
