package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"sync"

	"github.com/headgate-io/headgate/internal/faultfs"
)

const openNew = os.O_RDWR | os.O_CREATE | os.O_EXCL

// A Log is an open log. It is safe for concurrent use.
type Log struct {
	dir    string
	opt    Options
	fs     faultfs.FS
	lock   io.Closer
	id     logID
	logger *slog.Logger
	stats  counters

	// spawn runs a function in a goroutine of its own. Tests run it in place, to make the order of events theirs.
	spawn      func(func())
	commitLoop func()         // commitAll, bound once
	work       sync.WaitGroup // what spawn runs

	// writing is held by who writes entries or changes which segment is the current one. It is taken before mu.
	writing sync.Mutex
	tail    tail           // guarded by writing
	batch   []*request     // the entries being written; guarded by writing
	sealing sync.WaitGroup // the seal that is being written, at most one

	deleting sync.Mutex // one DeleteBefore at a time; taken before writing

	mu         sync.Mutex // guards what follows and the segments
	queue      []*request // waiting
	committing bool       // somebody runs commitAll
	closed     bool
	segments   []*segment   // not finished, in order; the current one is the last
	next       *preparation // the next segment, nil when none was asked for
	reserved   int64        // of the budget, for segments that are being prepared or are ready
	number     uint32       // the highest segment number given out
	checkpoint uint32       // the first segment that is not finished
}

// Open opens the log in dir, which it makes if there is none, and recovers it. It fails with ErrLocked when another
// Log has it, with ErrVersion when its checkpoint is from a newer version, and when what may hold acknowledged entries
// cannot be read or synced just now; it fails with nothing changed then, and may be tried again.
func Open(dir string, opt Options) (*Log, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", dir, err)
	}
	dir = path.Clean(dir)
	if err := makeDir(opt.FS, dir); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	lock, err := opt.FS.Lock(path.Join(dir, lockName))
	if errors.Is(err, faultfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	} else if err != nil {
		return nil, fmt.Errorf("lock log: %w", err)
	}
	l := &Log{dir: dir, opt: opt, fs: opt.FS, lock: lock, logger: opt.Logger.With("dir", dir)}
	l.spawn = func(f func()) { go f() }
	l.commitLoop = l.commitAll
	if err := l.recover(); err != nil {
		return nil, fmt.Errorf("recover log %s: %w", dir, errors.Join(err, lock.Close()))
	}
	if err := l.rotate(); err != nil { // a full disk must not keep the backlog from being read
		l.logger.Warn("no segment to write to yet", "err", err)
	}
	return l, nil
}

// makeDir makes dir and what is missing above it, durably.
func makeDir(fsys faultfs.FS, dir string) error {
	err := fsys.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && path.Dir(dir) != dir {
		if err = makeDir(fsys, path.Dir(dir)); err == nil {
			err = fsys.Mkdir(dir, 0o700)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also when it was there: whoever made it may have died before this.
	return fsys.SyncDir(path.Dir(dir))
}

// Close waits for the Appends that have begun, seals the current segment and gives the directory free. It returns
// ErrClosed when called again. No Scan or Read may be under way.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true // from here on nothing is enqueued
	l.mu.Unlock()
	l.work.Wait()
	l.deleting.Lock()
	defer l.deleting.Unlock()
	l.writing.Lock()
	defer l.writing.Unlock()
	l.discardNext()
	l.retire()
	l.work.Wait()
	return l.lock.Close()
}

// discardNext removes the segment that was prepared, so that its space is free. Caller holds writing.
func (l *Log) discardNext() {
	l.mu.Lock()
	p := l.next
	l.next = nil
	l.mu.Unlock()
	if p == nil {
		return
	}
	if <-p.done; p.err == nil {
		l.drop(p.seg, p.file)
		l.release()
	}
}

// bytesLocked returns the sizes of the segment files that count against the budget.
func (l *Log) bytesLocked() int64 {
	n := l.reserved
	for _, s := range l.segments {
		if !s.aside {
			n += s.size
		}
	}
	return n
}

// endLocked returns a position behind every entry and before every later one.
func (l *Log) endLocked() Position {
	if n := len(l.segments); n > 0 {
		return at(l.segments[n-1].number, l.segments[n-1].end)
	}
	return at(l.checkpoint, 0)
}

func (l *Log) forgetLocked(s *segment) {
	if i := slices.Index(l.segments, s); i >= 0 {
		l.segments = slices.Delete(l.segments, i, i+1)
	}
}
