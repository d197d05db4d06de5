package wal

import (
	"sync"
	"time"
)

// Stats is what a Log can say about itself.
type Stats struct {
	Bytes    int64 // on disk, segments that are not set aside
	MaxBytes int64 // the budget
	Segments int   // not finished, those set aside included
	Entries  uint64
	Oldest   Position // of the first segment; 0 when there is none
	Newest   Position // of the last entry; 0 when there is none
	End      Position // behind the last entry: greater than every entry's position
	// OldestTime is when the oldest entry was written, to the second; zero when there is none.
	OldestTime time.Time

	SetAside      int    // segment files that were damaged or not understood
	SetAsideBytes int64  // their sizes
	Lost          uint64 // acknowledged entries found to be unreadable since Open

	Groups       uint64 // committed since Open
	GroupEntries uint64 // in them
	GroupBytes   uint64 // in them, payloads
	FailedGroups uint64
	SyncTime     time.Duration // spent in their writes and syncs

	LastError     error // of the disk, nil when there was none since Open
	LastErrorTime time.Time
}

// counters are the part of Stats that only grows.
type counters struct {
	mu sync.Mutex
	s  Stats
}

func (c *counters) group(took time.Duration, entries int, bytes int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.SyncTime += took
	if err != nil {
		c.s.FailedGroups++
		return
	}
	c.s.Groups++
	c.s.GroupEntries += uint64(entries)
	c.s.GroupBytes += uint64(bytes)
}

func (c *counters) fail(now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.LastError, c.s.LastErrorTime = err, now
}

func (c *counters) lose(entries uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Lost += entries
}

func (c *counters) setAside(files int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.SetAside += files
	c.s.SetAsideBytes += bytes
}

func (c *counters) read() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s
}

// Stats returns the state of the log. It does no I/O.
func (l *Log) Stats() Stats {
	st := l.stats.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	st.Bytes, st.MaxBytes, st.End = l.bytesLocked(), l.opt.MaxBytes, l.endLocked()
	for _, s := range l.segments {
		if s.number < l.checkpoint {
			continue
		}
		if st.Segments++; s.entries == 0 {
			continue
		}
		if st.Oldest == 0 {
			st.Oldest, st.OldestTime = at(s.number, firstOffset), time.Unix(int64(s.oldest), 0)
		}
		st.Entries += s.entries
		st.Newest = s.last
	}
	return st
}
