package storage

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// disk knows how much is free where the log is. It is safe for concurrent use.
type disk struct {
	dir string

	mu    sync.Mutex // guards the fields below
	asked time.Time
	bytes int64
	err   error
}

// diskInterval is how old an answer may be.
const diskInterval = 100 * time.Millisecond

// free returns the bytes that are free for unprivileged processes.
func (d *disk) free(now time.Time) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if age := now.Sub(d.asked); age >= 0 && age < diskInterval {
		return d.bytes, d.err
	}
	var s unix.Statfs_t
	d.err = unix.Statfs(d.dir, &s)
	d.asked, d.bytes = now, int64(s.Bavail)*s.Bsize
	return d.bytes, d.err
}
