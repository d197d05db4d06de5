package wal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
)

// recover brings the directory into order. Each step may be the last one: the next recovery finds the same entries.
func (l *Log) recover() error {
	s, err := take(l.fs, l.dir, true)
	if err != nil {
		return err
	}
	l.number, l.checkpoint = s.number, s.checkpoint
	for _, name := range append(s.tmp, s.finished...) {
		if err := l.fs.Remove(l.path(name)); err != nil {
			return err
		}
	}
	if err := l.adopt(s); err != nil {
		return err
	}
	for _, name := range s.aside {
		l.stats.setAside(1, l.sizeOf(name))
	}
	for _, f := range s.found {
		if err := l.settle(f); err != nil {
			return fmt.Errorf("segment %s: %w", f.file, err)
		}
	}
	l.tail.seq, l.tail.durable = s.seq, s.durable
	return l.fs.SyncDir(l.dir)
}

// adopt takes over the log's id, and makes the checkpoint if there is none that can be read. Before there is a
// segment there is a checkpoint.
func (l *Log) adopt(s *survey) error {
	l.id = s.id
	if s.ckptErr == nil {
		return nil
	}
	missing := errors.Is(s.ckptErr, os.ErrNotExist)
	if !missing {
		if _, err := l.moveAside(checkpointName, checkpointName+asideSuffix); err != nil {
			return err
		}
		l.stats.setAside(1, fileHeaderBytes)
	}
	if len(s.found) > 0 {
		l.logger.Error("log has lost its checkpoint, finished entries may be delivered again", "err", s.ckptErr)
	}
	if l.id == (logID{}) {
		_, _ = rand.Read(l.id[:]) // it cannot fail
	}
	return l.writeCheckpoint(s.checkpoint)
}

// settle decides what happens to one segment that is not finished.
func (l *Log) settle(f *found) error {
	if f.lost > 0 {
		l.stats.lose(f.lost)
		l.logger.Error("acknowledged log entries are missing", "segment", f.number, "entries", f.lost)
	}
	switch {
	case f.err != nil:
		l.logger.Error("segment is not understood and set aside", "segment", f.number, "err", f.err)
		l.stats.setAside(1, f.size)
		return l.renameAside(&f.segment)
	case f.damage != nil:
		l.logger.Error("segment is damaged and set aside, what can be read is delivered", "segment", f.number, "err", f.damage)
		l.stats.setAside(1, f.size)
		l.segments = append(l.segments, &f.segment)
		return l.renameAside(&f.segment)
	case f.aside:
		l.stats.setAside(1, f.size)
	case f.entries == 0:
		return l.fs.Remove(l.path(f.file))
	case f.walked:
		if err := l.conclude(f); err != nil {
			return err
		}
	}
	l.segments = append(l.segments, &f.segment)
	return nil
}

// conclude writes the seal of a segment that was being written. Without space for it, it is not needed.
func (l *Log) conclude(f *found) error {
	file, err := l.fs.OpenFile(l.path(f.file), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if f.torn > 0 {
		l.logger.Info("torn tail of the log cut", "segment", f.number, "offset", f.end, "bytes", f.torn)
	}
	size, err := l.seal(f.segment, file)
	if err == nil {
		f.sealed, f.size = true, size
	} else {
		l.stats.fail(l.opt.Now(), err)
		l.logger.Warn("segment not sealed", "segment", f.number, "err", err)
	}
	return file.Close()
}

// renameAside marks the segment's file as damaged. The file keeps its contents and stays readable, but is never
// deleted any more.
func (l *Log) renameAside(s *segment) error {
	if s.aside {
		return nil
	}
	from, _ := l.whereabouts(s)
	name, err := l.moveAside(from, fileName(s.number, asideSuffix))
	if err != nil {
		return err
	}
	l.mu.Lock()
	s.file, s.aside = name, true
	l.mu.Unlock()
	return nil
}

// moveAside renames a file, to to.1, to.2 and so on when that name is taken, and returns the name it got.
func (l *Log) moveAside(from, to string) (string, error) {
	name := to
	for i := 1; l.sizeOf(name) >= 0; i++ {
		name = fmt.Sprintf("%s.%d", to, i)
	}
	if err := l.fs.Rename(l.path(from), l.path(name)); err != nil {
		return "", err
	}
	return name, l.fs.SyncDir(l.dir)
}

// sizeOf returns a file's size, -1 when it cannot be opened.
func (l *Log) sizeOf(name string) int64 {
	f, err := l.fs.OpenFile(l.path(name), os.O_RDONLY, 0)
	if err != nil {
		return -1
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return -1
	}
	return n
}
