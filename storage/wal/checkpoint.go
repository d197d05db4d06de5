package wal

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// DeleteBefore says that all entries before p are finished: segments that hold nothing else are deleted, those set
// aside excepted. When p is behind the newest entry (Stats.End), the current segment is finished too; it is then
// given back if it is a quarter full or the log cannot get another one.
//
// The entries of p's own segment stay, so after a restart Scan may deliver entries before p again. p never moves
// backwards; a smaller one does nothing. After an error everything may be delivered again and DeleteBefore be retried.
func (l *Log) DeleteBefore(p Position) error {
	l.deleting.Lock()
	defer l.deleting.Unlock()
	first := l.finishBefore(p)
	if first == 0 {
		return l.removeFinished() // what could not be removed the last time
	}
	// The checkpoint is durable before the first file is removed: a file that comes back after a crash is then known
	// to be finished.
	err := l.writeCheckpoint(first)
	if isFull(err) {
		l.writing.Lock()
		l.discardNext() // make room for it
		l.writing.Unlock()
		err = l.writeCheckpoint(first)
	}
	if err != nil {
		l.stats.fail(l.opt.Now(), err)
		return fmt.Errorf("checkpoint: %w", err)
	}
	l.mu.Lock()
	l.checkpoint = first
	l.mu.Unlock()
	return l.removeFinished()
}

// finishBefore returns the first segment that is not finished when p is reached, 0 when that is nothing new.
func (l *Log) finishBefore(p Position) uint32 {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	n, checkpoint := len(l.segments), l.checkpoint
	if l.closed || n == 0 {
		l.mu.Unlock()
		return 0
	}
	last, all := l.segments[n-1].number, p >= l.endLocked()
	l.mu.Unlock()
	first := min(p.Segment(), last)
	if t := &l.tail; all && t.seg == nil {
		first = last + 1
	} else if all && t.seg.entries > 0 && (t.off >= t.seg.size/4 || l.starved()) {
		l.retire()
		first = last + 1
	}
	if first <= checkpoint {
		return 0
	}
	return first
}

// removeFinished removes the files of finished segments, but not those set aside. One that cannot be removed counts
// against the budget until it can.
func (l *Log) removeFinished() error {
	l.mu.Lock()
	var gone []*segment
	for _, s := range l.segments {
		if s.number < l.checkpoint {
			gone = append(gone, s)
		}
	}
	l.mu.Unlock()
	var errs []error
	for _, s := range gone {
		if !s.aside {
			if err := l.fs.Remove(l.path(s.file)); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
				continue
			}
		}
		l.mu.Lock()
		l.forgetLocked(s)
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// writeCheckpoint durably replaces the checkpoint.
func (l *Log) writeCheckpoint(first uint32) error {
	b := make([]byte, fileHeaderBytes)
	putFileHeader(b, checkpointMagic, first, &l.id, time.Time{})
	tmp := l.path(checkpointName + tmpSuffix)
	err := l.writeFile(tmp, b)
	if err == nil {
		err = l.fs.Rename(tmp, l.path(checkpointName))
	}
	if err != nil {
		_ = l.fs.Remove(tmp) // it may not be there; recovery removes it otherwise
		return err
	}
	return l.fs.SyncDir(l.dir)
}

func (l *Log) writeFile(name string, b []byte) error {
	f, err := l.fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(0, b); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}
