package prom

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// aBlock is a block of one row as ClickHouse sends it: an id and a list of floats.
func aBlock() []byte {
	b := &rowBuffer{}
	b.length(2)
	b.length(1)
	b.text("SeriesId")
	b.text(typeUint64)
	b.u64(7)
	b.text("ExplicitBounds")
	b.text(typeFloats)
	b.u64(2) // where the first list ends
	b.f64(0.5)
	b.f64(1)
	return b.b
}

// TestBlocksAreRead: blocks follow each other, and empty ones are none.
func TestBlocksAreRead(t *testing.T) {
	empty := &rowBuffer{}
	empty.length(2)
	empty.length(0)
	for _, kind := range []string{typeUint64, typeFloats} {
		empty.text("x")
		empty.text(kind)
	}
	none := empty.b
	b := newBlockReader(bytes.NewReader(slices.Concat(none, aBlock(), none, aBlock())), typeUint64, typeFloats)
	var last []float64
	for i := range 2 {
		if !b.next() || b.rows != 1 || b.columns[0].uint64(0) != 7 || b.columns[1].len() != 2 {
			t.Fatalf("block %d: %d rows, %v", i, b.rows, b.err)
		}
		list := b.columns[1].floats(last, 0)
		if !slices.Equal(list, []float64{0.5, 1}) || last != nil && &list[0] != &last[0] {
			t.Errorf("list %v, after %v", list, last)
		}
		last = list
	}
	if b.next() || b.err != nil {
		t.Errorf("after the last: %v", b.err)
	}
}

// TestCutBlocksAreNoAnswer: wherever the stream ends but between blocks, that is an error.
func TestCutBlocksAreNoAnswer(t *testing.T) {
	whole := aBlock()
	for n := 1; n < len(whole); n++ {
		b := newBlockReader(bytes.NewReader(whole[:n]), typeUint64, typeFloats)
		if b.next() || !errors.Is(b.err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), b.err)
		}
	}
}

// TestStrangeBlocksAreRefused: other columns than were asked for, and lists that end before they begin.
func TestStrangeBlocksAreRefused(t *testing.T) {
	backwards := slices.Clone(aBlock())
	at := bytes.Index(backwards, []byte(typeFloats)) + len(typeFloats)
	binary.LittleEndian.PutUint64(backwards[at:], 1<<40)
	for name, c := range map[string]struct {
		raw   []byte
		types []string
	}{
		"fewer columns": {aBlock(), []string{typeUint64}},
		"another type":  {aBlock(), []string{typeInt64, typeFloats}},
		"a long list":   {backwards, []string{typeUint64, typeFloats}},
	} {
		if b := newBlockReader(bytes.NewReader(c.raw), c.types...); b.next() || b.err == nil || errors.Is(b.err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, b.err)
		}
	}
}

// TestPointsInRunsAreSorted: in whatever runs points come, they end in order, the last of each time alone.
func TestPointsInRunsAreSorted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		list := make([]point, r.IntN(200))
		for i := range list {
			list[i] = point{nanos: int64(r.IntN(300)), value: float64(r.IntN(3))}
		}
		for from := 0; from < len(list); {
			to := min(len(list), from+1+r.IntN(60))
			slices.SortFunc(list[from:to], point.compare)
			from = to
		}
		want := map[int64]float64{}
		for _, p := range list {
			if v, ok := want[p.nanos]; !ok || p.value > v {
				want[p.nanos] = p.value
			}
		}
		got := order(slices.Clone(list), exact)
		if len(got) != len(want) || !slices.IsSortedFunc(got, func(a, b point) int { return cmp.Compare(a.nanos, b.nanos) }) {
			t.Fatalf("%v becomes %v", list, got)
		}
		for _, p := range got {
			if p.value != want[p.nanos] {
				t.Fatalf("%v becomes %v", list, got)
			}
		}
	}
}
