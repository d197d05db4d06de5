package query

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// maxMomentBytes bounds the rows of one time that are held to be ordered. Where there are more, rows are given out as
// the engine sends them, and no page follows.
var maxMomentBytes = 16 << 20 // a variable for tests

var errMoment = errors.New("too many rows share one time")

// pager gives out the rows of a page in a total order: newest first, those of one time by their sums.
//
// Rows that the engine cut off from the last time that it sent are asked for in a statement of their own, so that rows of
// one time are always ordered among all of them.
type pager struct {
	page  *page
	lines *lineReader
	width int                               // columns that the result shows
	open  func(Stmt) (io.ReadCloser, error) // runs a statement
	group []pageRow                         // rows of one time, in order
	next  int                               // those before it were given out, now or on earlier pages
	ahead *pageRow                          // the first row of the next time
	sent  int                               // rows that the engine sent
	lost  bool                              // the order is not known: no page follows
}

// pageRow is one row of a page. It owns its bytes.
type pageRow struct {
	at     int64
	values [][]byte
	sum    [16]byte
	size   int
}

// row returns the next row, or io.EOF.
func (p *pager) row() ([][]byte, error) {
	for p.next == len(p.group) {
		if err := p.load(); err != nil {
			return nil, err
		}
	}
	p.next++
	return p.group[p.next-1].values, nil
}

// more reports whether rows may follow those that were given out. It must not be called before row was.
func (p *pager) more() bool { return p.next < len(p.group) || p.ahead != nil || p.sent >= p.page.sent }

// place returns where the rows that were given out end, nil if that cannot be told.
func (p *pager) place() *place {
	if p.lost || p.next == 0 {
		return nil
	}
	out := &place{at: p.group[0].at, sum: p.group[p.next-1].sum, skip: uint32(p.next)}
	for _, r := range p.group[:p.next] {
		if r.sum == out.sum {
			out.same++
		}
	}
	return out
}

// load reads the rows of the next time. The group stays as it is when there is none.
func (p *pager) load() error {
	if p.ahead == nil {
		var err error
		if p.ahead, err = p.read(p.lines); err != nil {
			return err
		}
		p.sent++
	}
	first, size := p.ahead, p.ahead.size
	group, ended := []pageRow{*first}, false
	for p.ahead = nil; p.ahead == nil && !ended && size <= maxMomentBytes; {
		r, err := p.read(p.lines)
		switch {
		case errors.Is(err, io.EOF):
			ended = true
			continue
		case err != nil:
			return err
		}
		if p.sent++; r.at != first.at {
			p.ahead = r
			continue
		}
		size += r.size
		group = append(group, *r)
	}
	var err error
	if ended && p.sent >= p.page.sent && !p.lost {
		group, err = p.moment(first.at, group)
	} else if size > maxMomentBytes {
		p.lost = true
	}
	after := p.page.after
	if after != nil && after.at != first.at {
		after = nil
	}
	if after != nil && p.lost {
		err = errMoment
	}
	if err != nil {
		return err
	}
	p.group, p.next = group, 0
	if !p.lost {
		slices.SortStableFunc(group, func(a, b pageRow) int { return bytes.Compare(a.sum[:], b.sum[:]) })
		p.skip(after)
	}
	return nil
}

// skip passes over the rows up to a place.
func (p *pager) skip(after *place) {
	if after == nil {
		return
	}
	same := after.same
	for ; p.next < len(p.group); p.next++ {
		switch c := bytes.Compare(p.group[p.next].sum[:], after.sum[:]); {
		case c > 0, c == 0 && same == 0:
			return
		case c == 0:
			same--
		}
	}
}

// moment returns all rows of a time, or those that are there already if they are too many to be held.
func (p *pager) moment(at int64, some []pageRow) ([]pageRow, error) {
	st, err := p.page.moment(at)
	if err != nil {
		return nil, err
	}
	stream, err := p.open(st)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	lines := newLineReader(stream)
	var group []pageRow
	for size := 0; size <= maxMomentBytes; {
		r, err := p.read(lines)
		if errors.Is(err, io.EOF) {
			return group, nil
		}
		if err != nil {
			return nil, err
		}
		size += r.size
		group = append(group, *r)
	}
	p.lost = true
	return some, nil
}

func (p *pager) read(lines *lineReader) (*pageRow, error) {
	line, err := lines.next()
	if err != nil {
		return nil, err
	}
	line = bytes.Clone(line)
	values, err := splitRow(make([][]byte, 0, p.width+1), line)
	if err != nil || len(values) != p.width+1 {
		return nil, fmt.Errorf("row of a page has %d values for %d columns and the time: %w", len(values), p.width, errRow)
	}
	r := &pageRow{values: values[:p.width], size: len(line) + 64}
	if r.at, err = strconv.ParseInt(string(values[p.width]), 10, 64); err != nil {
		return nil, fmt.Errorf("time of a page's row: %w", err)
	}
	sum := sha256.Sum256(bytes.TrimSuffix(bytes.TrimRight(line, " ]"), values[p.width]))
	copy(r.sum[:], sum[:])
	return r, nil
}

// lineReader reads the rows of a result.
type lineReader struct {
	r     *bufio.Reader
	line  []byte
	bytes *int64 // counts what was read; nil for lines that are no rows of the result
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, lineBufferBytes)}
}

// next returns the next line without its end, valid until the next call, or io.EOF.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.line = append(l.line, part...)
		switch {
		case err == nil:
			if l.bytes != nil {
				*l.bytes += int64(len(l.line))
			}
			return l.line[:len(l.line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(l.line) > maxRowBytes {
				return nil, errRowTooLarge
			}
		case errors.Is(err, io.EOF) && len(l.line) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}
