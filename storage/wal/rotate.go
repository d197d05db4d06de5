package wal

import (
	"errors"
	"fmt"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// abandon gives up the current segment after a write or sync of it failed. What was written behind the durable end is
// cut off: the group begins on a page of its own, so none of the pages that failed remains. The sync that follows is
// for the length alone; nothing is acknowledged on it.
func (l *Log) abandon(cause error) {
	t := &l.tail
	l.stats.fail(l.opt.Now(), cause)
	l.logger.Error("log write failed, going on in a new segment", "segment", t.seg.number, "offset", t.off, "err", cause)
	err := t.file.Truncate(t.off)
	if err == nil {
		err = t.file.Sync()
	}
	l.mu.Lock()
	if err == nil {
		t.seg.size = t.off
	}
	l.mu.Unlock()
	if err != nil {
		l.logger.Error("log could not take back what it did not acknowledge", "segment", t.seg.number, "err", err)
	}
	l.retire()
}

// rotate makes the next segment the current one. On error the current one stays.
func (l *Log) rotate() error {
	p, err := l.takeNext()
	if err != nil {
		return err
	}
	l.retire()
	l.mu.Lock()
	l.segments = append(l.segments, p.seg)
	l.reserved -= l.opt.SegmentBytes
	l.mu.Unlock()
	l.tail.seg, l.tail.file, l.tail.off = p.seg, p.file, firstOffset
	return nil
}

// retire ends the current segment, if there is one: an empty file is removed, another sealed in the background. At
// most one segment waits for its seal, which bounds what recovery must read.
func (l *Log) retire() {
	s, f := l.tail.seg, l.tail.file
	if s == nil {
		return
	}
	l.tail.seg, l.tail.file = nil, nil
	if s.entries == 0 {
		l.drop(s, f)
		return
	}
	l.sealing.Wait()
	l.sealing.Add(1)
	l.work.Add(1)
	l.spawn(func() {
		defer l.work.Done()
		defer l.sealing.Done()
		l.finish(s, f)
	})
}

// finish seals a segment and closes its file. Without a seal everything stays readable; recovery tries again.
func (l *Log) finish(s *segment, f faultfs.File) {
	l.mu.Lock()
	was := *s
	l.mu.Unlock()
	size, err := l.seal(was, f)
	l.mu.Lock()
	if err == nil {
		s.sealed, s.size = true, size
	}
	l.mu.Unlock()
	if err = errors.Join(err, f.Close()); err != nil {
		l.stats.fail(l.opt.Now(), err)
		l.logger.Warn("segment not sealed", "segment", was.number, "err", err)
	}
}

// drop removes a segment in which nothing is.
func (l *Log) drop(s *segment, f faultfs.File) {
	l.mu.Lock()
	l.forgetLocked(s)
	l.mu.Unlock()
	err := errors.Join(f.Close(), l.fs.Remove(l.path(s.file)))
	if err == nil {
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		l.logger.Warn("empty segment not removed", "segment", s.number, "err", err)
	}
}

// takeNext returns a segment to write to, waiting for one that is being prepared.
func (l *Log) takeNext() (*preparation, error) {
	for try := 0; ; try++ {
		l.mu.Lock()
		p := l.next
		fresh := p == nil
		if fresh {
			p = l.startLocked()
		}
		l.next = nil
		l.mu.Unlock()
		if fresh {
			l.run(p)
		}
		<-p.done
		if p.err == nil {
			return p, nil
		}
		if fresh { // one that was prepared earlier may have failed for a reason that is gone
			l.stats.fail(l.opt.Now(), p.err)
			return nil, failure(p.err)
		}
	}
}

// prepareAhead starts to prepare the next segment when the current one is half full, so that rotation need not wait.
func (l *Log) prepareAhead() {
	t := &l.tail
	if t.seg == nil || t.off < t.seg.size/2 {
		return
	}
	l.mu.Lock()
	if l.next != nil {
		l.mu.Unlock()
		return
	}
	p := l.startLocked()
	l.next = p
	l.work.Add(1)
	l.mu.Unlock()
	l.spawn(func() {
		defer l.work.Done()
		l.run(p)
	})
}

// startLocked begins a preparation, which run carries out.
func (l *Log) startLocked() *preparation {
	l.number++
	return &preparation{done: make(chan struct{}), seg: &segment{number: l.number}}
}

// run prepares a segment if the budget and the disk allow it.
func (l *Log) run(p *preparation) {
	l.mu.Lock()
	p.err = l.budgetLocked()
	if p.err == nil {
		l.reserved += l.opt.SegmentBytes
	}
	l.mu.Unlock()
	if p.err == nil {
		if p.err = l.diskRoom(); p.err == nil {
			l.prepare(p)
		}
		if p.err != nil {
			l.release()
		}
	}
	close(p.done)
}

// release gives back what a preparation had reserved of the budget.
func (l *Log) release() {
	l.mu.Lock()
	l.reserved -= l.opt.SegmentBytes
	l.mu.Unlock()
}

// budgetLocked returns ErrFull when one more segment would pass the byte budget.
func (l *Log) budgetLocked() error {
	if used := l.bytesLocked(); used+l.opt.SegmentBytes > l.opt.MaxBytes {
		return fmt.Errorf("%w: segments have %d bytes of %d", ErrFull, used, l.opt.MaxBytes)
	}
	return nil
}

// diskRoom returns ErrFull when one more segment would touch what is reserved on the disk.
func (l *Log) diskRoom() error {
	free, err := l.fs.Free(l.dir)
	if err != nil {
		return err
	}
	if free-l.opt.SegmentBytes < l.opt.ReserveBytes {
		return fmt.Errorf("%w: disk has %d bytes free, %d are reserved", ErrFull, free, l.opt.ReserveBytes)
	}
	return nil
}

// starved reports whether a rotation now would fail for want of space.
func (l *Log) starved() bool {
	l.mu.Lock()
	p, err := l.next, l.budgetLocked()
	l.mu.Unlock()
	if p != nil {
		if <-p.done; p.err == nil {
			return false
		}
	}
	return err != nil || l.diskRoom() != nil
}
