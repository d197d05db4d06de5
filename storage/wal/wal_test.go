package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// small are options under which a few entries fill a segment.
func small() Options { return Options{SegmentBytes: 32 << 10, MaxBytes: 1 << 20, ReserveBytes: -1} }

func open(t testing.TB, dir string, opt Options) *Log {
	t.Helper()
	l, err := Open(dir, opt)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func appendTo(t testing.TB, l *Log, parts ...[]byte) Position {
	t.Helper()
	p, err := l.Append(parts...)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return p
}

// payload returns n bytes that are the same for the same seed.
func payload(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	r.Read(b)
	return b
}

type record struct {
	pos  Position
	data []byte
}

func scanAll(t testing.TB, l *Log) []record {
	t.Helper()
	var all []record
	err := l.Scan(func(p Position, b []byte) error {
		all = append(all, record{p, bytes.Clone(b)})
		return nil
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return all
}

func checkRecords(t testing.TB, got, want []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("Scan delivered %d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].pos != want[i].pos || !bytes.Equal(got[i].data, want[i].data) {
			t.Fatalf("entry %d = %v of %d bytes, want %v of %d bytes", i, got[i].pos, len(got[i].data), want[i].pos, len(want[i].data))
		}
	}
}

func TestEntriesSurviveRestartInOrder(t *testing.T) {
	dir := t.TempDir()
	var want []record
	for restart := range 3 {
		l := open(t, dir, small())
		checkRecords(t, scanAll(t, l), want)
		for i := range 40 {
			data := payload(uint64(restart*100+i), i*97)
			p := appendTo(t, l, data[:len(data)/3], data[len(data)/3:])
			want = append(want, record{p, data})
		}
		checkRecords(t, scanAll(t, l), want)
		for _, r := range want {
			got, err := l.Read(r.pos, []byte("x"))
			if err != nil || !bytes.Equal(got, append([]byte("x"), r.data...)) {
				t.Fatalf("Read(%v) = %d bytes, %v, want %d", r.pos, len(got), err, len(r.data)+1)
			}
		}
		closeLog(t, l)
	}
}

func TestHeadsAreDeliveredWithoutTheRest(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{ReserveBytes: -1})
	head, rest := []byte("head"), payload(1, 300<<10)
	appendTo(t, l, head, rest)
	appendTo(t, l, payload(2, 2*MaxHeadBytes))
	appendTo(t, l)
	closeLog(t, l)
	l = open(t, dir, Options{ReserveBytes: -1})
	defer closeLog(t, l)
	var got []string
	err := l.ScanHeads(func(_ Position, head []byte, size int) error {
		got = append(got, fmt.Sprintf("%d of %d", len(head), size))
		return nil
	})
	want := []string{fmt.Sprintf("4 of %d", 4+300<<10), fmt.Sprintf("%d of %d", MaxHeadBytes, 2*MaxHeadBytes), "0 of 0"}
	want[0] = fmt.Sprintf("4 of %d", 4+(300<<10))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("ScanHeads = %v, %v, want %v", got, err, want)
	}
}

func TestFinishedSegmentsAreDeleted(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, small())
	var want []record
	for i := range 60 {
		data := payload(uint64(i), 2000)
		want = append(want, record{appendTo(t, l, data), data})
	}
	before := l.Stats()
	half := want[len(want)/2].pos
	if err := l.DeleteBefore(half); err != nil {
		t.Fatal(err)
	}
	var left []record
	for _, r := range want {
		if r.pos.Segment() >= half.Segment() {
			left = append(left, r)
		}
	}
	checkRecords(t, scanAll(t, l), left)
	if after := l.Stats(); after.Bytes >= before.Bytes || after.Segments >= before.Segments {
		t.Errorf("after DeleteBefore %+v, before %+v", after, before)
	}
	if _, err := l.Read(want[0].pos, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("Read of a finished entry: %v, want ErrNotFound", err)
	}
	closeLog(t, l)
	l = open(t, dir, small())
	checkRecords(t, scanAll(t, l), left)
	if err := l.DeleteBefore(l.Stats().End); err != nil {
		t.Fatal(err)
	}
	checkRecords(t, scanAll(t, l), nil)
	data := payload(7, 100)
	p := appendTo(t, l, data)
	if p <= want[len(want)-1].pos {
		t.Errorf("position %v after all was deleted, want more than %v", p, want[len(want)-1].pos)
	}
	closeLog(t, l)
	l = open(t, dir, small())
	checkRecords(t, scanAll(t, l), []record{{p, data}})
	closeLog(t, l)
}

func TestConcurrentSendersShareSyncs(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentBytes: 1 << 20, MaxBytes: 64 << 20, ReserveBytes: -1})
	const senders, each = 16, 50
	var mu sync.Mutex
	want := map[Position][]byte{}
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				data := payload(uint64(s*each+i), 10+s*100)
				p, err := l.Append(data[:10], data[10:])
				if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				if got, err := l.Read(p, nil); err != nil || !bytes.Equal(got, data) {
					t.Errorf("Read(%v) of what was just appended: %d bytes, %v", p, len(got), err)
				}
				mu.Lock()
				want[p] = data
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	st := l.Stats()
	if len(want) != senders*each || st.Groups >= senders*each || st.Entries != senders*each {
		t.Errorf("%d positions, stats %+v; want %d entries in fewer groups", len(want), st, senders*each)
	}
	closeLog(t, l)
	l = open(t, dir, small())
	defer closeLog(t, l)
	got := scanAll(t, l)
	if len(got) != len(want) {
		t.Fatalf("%d entries after restart, want %d", len(got), len(want))
	}
	for _, r := range got {
		if !bytes.Equal(r.data, want[r.pos]) {
			t.Fatalf("entry %v differs", r.pos)
		}
	}
}

func TestBudgetAndLimitsRefuse(t *testing.T) {
	l := open(t, t.TempDir(), Options{SegmentBytes: 32 << 10, MaxBytes: 64 << 10, ReserveBytes: -1})
	defer closeLog(t, l)
	if _, err := l.Append(make([]byte, 32<<10)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("Append of a segment's size: %v, want ErrTooLarge", err)
	}
	var full error
	for i := 0; i < 20 && full == nil; i++ {
		_, full = l.Append(make([]byte, 10<<10))
	}
	if !errors.Is(full, ErrFull) {
		t.Fatalf("Append beyond the budget: %v, want ErrFull", full)
	}
	if st := l.Stats(); st.Bytes > st.MaxBytes {
		t.Errorf("%d bytes on disk, budget %d", st.Bytes, st.MaxBytes)
	}
	if err := l.DeleteBefore(l.Stats().End); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, make([]byte, 10<<10))
}

func TestDirectoryHasOneLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, small())
	if _, err := Open(dir, small()); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	closeLog(t, l)
	if _, err := l.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Append after Close: %v, want ErrClosed", err)
	}
	closeLog(t, open(t, dir, small()))
}
