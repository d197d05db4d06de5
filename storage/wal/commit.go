package wal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// A tail is where the log is written. Only who holds Log.writing touches it.
type tail struct {
	file    faultfs.File // of the current segment, nil when there is none
	seg     *segment     // likewise
	off     int64        // of the next group
	durable Position     // where the log ends on disk
	seq     uint64       // of the next entry

	frames []byte   // headers and padding of the group being written
	bufs   [][]byte // all of it
}

// commit writes the batch in as few groups as the segments allow and answers each of it.
func (l *Log) commit(batch []*request) {
	var noRoom error
	for len(batch) > 0 {
		n, end := 0, int64(0)
		if l.tail.seg != nil {
			n, end = l.layOut(batch)
		}
		switch {
		case n > 0:
			if err := l.writeGroup(batch[:n], end); err != nil {
				l.abandon(err)
				answer(batch, failure(err))
				return
			}
			answer(batch[:n], nil)
			batch = batch[n:]
		case noRoom == nil:
			noRoom = l.rotate()
		default: // smaller ones may still fit
			answer(batch[:1], noRoom)
			batch = batch[1:]
		}
	}
	l.prepareAhead()
}

// layOut makes a group of as many of the batch as fit into the current segment. It returns how many, and where the
// last of them ends.
func (l *Log) layOut(batch []*request) (n int, end int64) {
	t := &l.tail
	// Room for all headers and padding, so that they do not move while bufs points at them.
	t.frames = slices.Grow(t.frames[:0], len(batch)*(frameBytes+frameAlign)+pageBytes)
	t.bufs = t.bufs[:0]
	limit := t.seg.size - pageBytes // the seal's
	now := seconds(l.opt.Now())
	off, begin := t.off, 0
	for _, r := range batch {
		next := r.frame.end(off)
		if next > limit {
			break
		}
		r.pos = at(t.seg.number, off)
		r.frame.durable, r.frame.seq, r.frame.written = t.durable, t.seq+uint64(n), now
		h := len(t.frames)
		t.frames = append(t.frames, zeros[:frameBytes]...)
		r.frame.put(t.frames[h:], &l.id, r.pos)
		t.bufs = append(append(t.bufs, t.frames[begin:]), r.parts...)
		begin = len(t.frames)
		t.frames = append(t.frames, zeros[:next-off-frameBytes-int64(r.frame.size)]...)
		off = next
		n++
	}
	if n > 0 {
		t.frames = append(t.frames, zeros[:alignUp(off, pageBytes)-off]...)
		t.bufs = append(t.bufs, t.frames[begin:])
	}
	return n, off
}

var zeros [pageBytes]byte

// writeGroup writes what was laid out and makes it durable. After an error nothing of it is.
func (l *Log) writeGroup(group []*request, end int64) error {
	t := &l.tail
	start := l.opt.Now()
	_, err := t.file.WriteAt(t.off, t.bufs...)
	if err == nil {
		err = t.file.Sync()
	}
	took := l.opt.Now().Sub(start)
	var size int64
	for _, r := range group {
		size += int64(r.frame.size)
	}
	clear(t.bufs) // let go of the callers' parts
	if err == nil {
		l.advance(group, end, size)
	}
	l.stats.group(took, len(group), size, err)
	if l.opt.OnSync != nil {
		l.opt.OnSync(took, len(group), size, err)
	}
	return err
}

// advance records a group that is durable.
func (l *Log) advance(group []*request, end, size int64) {
	t := &l.tail
	first, last := group[0], group[len(group)-1]
	l.mu.Lock()
	s := t.seg
	if s.entries == 0 {
		s.first, s.oldest = first.frame.seq, first.frame.written
	}
	s.entries += uint64(len(group))
	s.bytes += size
	s.next, s.newest, s.last, s.end = last.frame.seq+1, last.frame.written, last.pos, end
	l.mu.Unlock()
	t.off = alignUp(end, pageBytes)
	t.durable, t.seq = at(s.number, end), s.next
}

// answer wakes the senders. With a nil error their entries are durable: it is called after the sync alone.
func answer(batch []*request, err error) {
	for _, r := range batch {
		if r.err = err; err != nil {
			r.pos = 0
		}
		r.done <- struct{}{}
	}
}

// failure makes an error of the disk one of this package.
func failure(err error) error {
	switch {
	case errors.Is(err, ErrFull):
		return err
	case isFull(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}
