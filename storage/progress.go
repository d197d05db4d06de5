package storage

import (
	"context"
	"fmt"
	"math"
	"time"
)

func (l *Log) segmentLocked(n uint32) *segment {
	s := l.segments[n]
	if s == nil {
		s = newSegment()
		l.segments[n] = s
	}
	return s
}

// addLocked counts an unfinished request.
func (l *Log) addLocked(at position, received int64) {
	l.segmentLocked(at.Segment()).add(at, received)
	l.entries++
}

// finish forgets the requests of a run that ClickHouse and the ledger have, and gives back the room of segments that hold
// nothing unfinished any more.
func (l *Log) finish(ctx context.Context, r *run, sizes map[string]int64) {
	l.mu.Lock()
	for _, p := range r.entries {
		l.segments[p.Segment()].done(p)
		l.entries--
	}
	for tenant, n := range sizes {
		l.lanes[r.signal].backlog.finished(tenant, n)
	}
	before := l.oldestLocked()
	advance := before > l.clean
	l.mu.Unlock()
	if advance {
		l.checkpoint(ctx, before)
	}
}

// giveUp forgets a request that cannot be read any more, because the disk has damaged it. The log keeps its segment's file.
func (l *Log) giveUp(at position, cause error) {
	l.metrics.damaged.Inc()
	l.log.Error("an acked request is damaged on disk and lost", "position", at.String(), "err", cause)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments[at.Segment()].done(at)
	l.entries--
}

// oldestLocked returns the first segment that is still needed, and forgets those that are not.
func (l *Log) oldestLocked() uint32 {
	oldest := l.tail
	for n, s := range l.segments {
		if s.unfinished > 0 || s.appending > 0 {
			oldest = min(oldest, n)
		} else {
			delete(l.segments, n)
		}
	}
	return oldest
}

// checkpoint deletes the segments below before. What they know of runs is known of the ledger's by then: a run is recorded
// behind all its requests, so none of those below is unfinished.
func (l *Log) checkpoint(ctx context.Context, before uint32) {
	if err := l.recent.save(l.opt.Dir); err != nil {
		l.log.Warn("recent requests were not saved", "err", err)
	}
	if err := l.wal.DeleteBefore(position(before) << 32); err != nil {
		l.log.Warn("finished log segments were not deleted", "err", err)
		return
	}
	l.mu.Lock()
	l.clean = max(l.clean, before)
	forget := l.lastRun + 1
	for id, at := range l.recorded {
		if at.Segment() < before {
			delete(l.recorded, id)
		} else {
			forget = min(forget, id)
		}
	}
	stale := forget > l.forgotten
	l.mu.Unlock()
	if !stale {
		return
	}
	if err := l.opt.Ledger.Forget(ctx, forget); err != nil {
		l.log.Warn("finished runs were not forgotten", "err", err)
		return
	}
	l.mu.Lock()
	l.forgotten = max(l.forgotten, forget)
	l.mu.Unlock()
}

// record makes runs durable, before anything of them is sent.
func (l *Log) record(runs ...*run) error {
	at, err := l.wal.Append(appendRuns(nil, runs...))
	if err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range runs {
		l.recorded[r.id] = at
	}
	return nil
}

// Oldest returns a time that no request was received before whose receipt is not in the ledger yet: within about a second the
// receive time of the oldest.
func (l *Log) Oldest() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.oldestReceivedLocked()
	return time.Unix(0, oldest), oldest != math.MaxInt64
}

func (l *Log) oldestReceivedLocked() int64 {
	oldest := int64(math.MaxInt64)
	for _, s := range l.segments {
		oldest = min(oldest, s.oldest())
	}
	return oldest
}

// newRunID returns an id that no other run has: milliseconds since 1970 in the upper 42 bits, and in the lower 22 a number
// that this process has drawn, so that neither another log nor a clock that was set back meets it. Ids grow.
func (l *Log) newRunID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ms := max(uint64(l.opt.Now().UnixMilli()), l.lastRun>>saltBits+1)
	l.lastRun = ms<<saltBits | l.salt
	l.recorded[l.lastRun] = math.MaxUint64 // nowhere yet, and not to be forgotten
	return l.lastRun
}

const saltBits = 22
