package wal

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// A model knows what a log was given and what it answered, and judges what it hands out.
type model struct {
	sent     map[string]bool
	acked    []record
	failed   map[string]int // refused entries, and how many had been acknowledged by then
	tried    uint32         // DeleteBefore was called up to this segment: what is before may be gone
	finished uint32         // and returned nil up to this one: what is before must be gone
}

func newModel() *model { return &model{sent: map[string]bool{}, failed: map[string]int{}} }

func (m *model) clone() *model {
	c := *m
	c.sent, c.acked, c.failed = maps.Clone(m.sent), slices.Clone(m.acked), maps.Clone(m.failed)
	return &c
}

// check compares a log that has just been opened, or runs, with what it must hold: acked ⊆ read ⊆ sent.
func (m *model) check(l *Log) error {
	got, err := collect(l)
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	read := map[Position][]byte{}
	last := Position(0)
	seen := map[string]bool{}
	for _, r := range got {
		switch at, failed := m.failed[string(r.data)]; {
		case r.pos <= last:
			return fmt.Errorf("%v delivered after %v", r.pos, last)
		case !m.sent[string(r.data)]:
			return fmt.Errorf("%v was never sent: %q", r.pos, short(r.data))
		case seen[string(r.data)]:
			return fmt.Errorf("%v delivered twice: %q", r.pos, short(r.data))
		case r.pos.Segment() < m.finished:
			return fmt.Errorf("%v is back from before the checkpoint %d", r.pos, m.finished)
		case failed && at < len(m.acked):
			return fmt.Errorf("%v was refused and not taken back: %q", r.pos, short(r.data))
		}
		last, seen[string(r.data)], read[r.pos] = r.pos, true, r.data
		if b, err := l.Read(r.pos, nil); err != nil || !bytes.Equal(b, r.data) {
			return fmt.Errorf("Read(%v) = %q, %v, want %q", r.pos, short(b), err, short(r.data))
		}
	}
	for _, a := range m.acked {
		if b, ok := read[a.pos]; a.pos.Segment() >= m.tried && (!ok || !bytes.Equal(b, a.data)) {
			return fmt.Errorf("acknowledged entry %v %q is lost", a.pos, short(a.data))
		}
	}
	if st := l.Stats(); st.SetAside != 0 || st.Lost != 0 || st.Entries != uint64(len(got)) {
		return fmt.Errorf("%d entries delivered, stats %+v", len(got), st)
	}
	return nil
}

// trust makes what was delivered count as acknowledged: whoever got it may have acted on it.
func (m *model) trust(l *Log) error {
	got, err := collect(l)
	if err != nil {
		return err
	}
	m.acked = got
	for _, r := range got {
		delete(m.failed, string(r.data))
	}
	return nil
}

func collect(l *Log) ([]record, error) {
	var all []record
	err := l.Scan(func(p Position, b []byte) error {
		all = append(all, record{p, bytes.Clone(b)})
		return nil
	})
	n := 0
	return all, errors.Join(err, l.ScanHeads(func(p Position, head []byte, size int) error {
		if n >= len(all) || all[n].pos != p || len(all[n].data) != size || !bytes.HasPrefix(all[n].data, head) {
			return fmt.Errorf("ScanHeads delivers %v of %d bytes as number %d, Scan did not", p, size, n)
		}
		n++
		return nil
	}))
}

func short(b []byte) []byte { return b[:min(len(b), 20)] }

// appendGroup appends entries as one group, which is committed in the calling goroutine.
func (m *model) appendGroup(l *Log, entries ...[]byte) error {
	l.mu.Lock()
	l.committing = true // nobody else takes them
	l.mu.Unlock()
	var rs []*request
	for _, e := range entries {
		m.sent[string(e)] = true
		r := &request{parts: [][]byte{e[:len(e)/2], e[len(e)/2:]}, done: make(chan struct{}, 1)}
		if err := l.measure(r); err != nil {
			return err
		}
		r.frame.headSum, r.frame.payloadSum = checksums(&l.id, int(r.frame.headSize), r.parts...)
		l.enqueue(r)
		rs = append(rs, r)
	}
	l.work.Add(1)
	l.commitAll()
	var errs []error
	for i, r := range rs {
		<-r.done
		if r.err == nil {
			m.acked = append(m.acked, record{r.pos, entries[i]})
		} else {
			m.failed[string(entries[i])] = len(m.acked)
			errs = append(errs, r.err)
		}
	}
	return errors.Join(errs...)
}

// deleteBefore finishes what is before the acknowledged entry with the given index, everything for a negative one.
func (m *model) deleteBefore(l *Log, i int) error {
	p := l.Stats().End
	if i >= 0 && i < len(m.acked) {
		p = m.acked[i].pos
		m.tried = max(m.tried, p.Segment())
	} else { // the current segment may go too
		m.tried = max(m.tried, p.Segment()+1)
	}
	err := l.DeleteBefore(p)
	if err == nil {
		m.finished = max(m.finished, p.Segment())
	}
	return err
}

// jobs runs a log's background work in the calling goroutine: at once, or when the test says so.
type jobs struct {
	later   bool
	waiting []func()
}

func (j *jobs) spawn(f func()) {
	if j.later {
		j.waiting = append(j.waiting, f)
	} else {
		f()
	}
}

func (j *jobs) run() {
	for len(j.waiting) > 0 {
		f := j.waiting[0]
		j.waiting = j.waiting[1:]
		f()
	}
}

// memLog opens a log in memory whose background work j runs.
func memLog(fsys *faultfs.Mem, j *jobs, opt Options) (*Log, error) {
	opt.FS = fsys
	l, err := Open("/log", opt)
	if err == nil {
		l.spawn = j.spawn
	}
	return l, err
}

// tiny are options under which a segment has three pages for groups.
func tiny() Options {
	return Options{SegmentBytes: 5 * pageBytes, MaxBytes: 40 * pageBytes, ReserveBytes: -1}
}

// newEntry returns an entry that is like no other.
func newEntry(m *model, size int) []byte {
	e := fmt.Appendf(nil, "entry %d ", len(m.sent))
	for len(e) < size {
		e = append(e, byte('a'+len(e)%26))
	}
	return e
}

// survive opens a log after a crash and holds it to the model, again after more was appended, and after a second
// crash and an ordered stop.
func survive(fsys *faultfs.Mem, m *model) error {
	m = m.clone()
	opt := tiny()
	opt.MaxBytes = 1 << 40 // what matters here is not the budget
	for restart := range 3 {
		l, err := memLog(fsys, &jobs{}, opt)
		if err != nil {
			return fmt.Errorf("restart %d: open: %w", restart, err)
		}
		if err := m.check(l); err != nil {
			return fmt.Errorf("restart %d: %w", restart, err)
		}
		if err := m.trust(l); err != nil {
			return err
		}
		if err := m.appendGroup(l, newEntry(m, 60), newEntry(m, 10)); err != nil {
			return fmt.Errorf("restart %d: append: %w", restart, err)
		}
		if err := m.check(l); err != nil {
			return fmt.Errorf("restart %d, after append: %w", restart, err)
		}
		if restart == 1 {
			if err := l.Close(); err != nil {
				return fmt.Errorf("restart %d: close: %w", restart, err)
			}
		}
		fsys = fsys.Crash(faultfs.LoseAll, 0)
	}
	return nil
}

func mustRun(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
