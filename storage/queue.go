package storage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// An entry is one request's rows of one table on their way. Whoever moves state away from queued owns what follows:
// the sender answers on done, the waiter that took the entry back answers itself.
type entry struct {
	rows   Rows
	queued time.Time
	state  atomic.Int32
	done   chan error // capacity 1
}

const (
	entryQueued int32 = iota
	entryTaken
	entryWithdrawn
)

// wait returns the entry's outcome. When ctx ends first, an entry that nobody has sent is withdrawn and the cause of
// ctx returned; one that is under way is waited for, which the INSERT's own timeout bounds.
func (e *entry) wait(ctx context.Context) error {
	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
	}
	if e.state.CompareAndSwap(entryQueued, entryWithdrawn) {
		return context.Cause(ctx)
	}
	return <-e.done
}

// queue holds the entries of one table until they form a run. It is bounded by the Writer's MaxPendingBytes.
type queue struct {
	opt WriterOptions

	mu      sync.Mutex
	entries []*entry
	rows    int // of entries

	changed chan struct{} // capacity 1: something was pushed
}

func newQueue(opt WriterOptions) *queue {
	return &queue{opt: opt, changed: make(chan struct{}, 1)}
}

func (q *queue) push(e *entry) {
	e.queued = time.Now()
	q.mu.Lock()
	q.entries = append(q.entries, e)
	q.rows += e.rows.Block.Rows
	q.mu.Unlock()
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// next waits until a run is due (enough rows, or the first one has waited long enough) and takes it. After ctx has
// ended it takes without waiting and returns nothing when the queue is empty.
func (q *queue) next(ctx context.Context) []*entry {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		run, wait := q.take(ctx.Err() != nil)
		if len(run) > 0 {
			return run
		}
		if wait > 0 {
			timer.Reset(wait)
		} else if ctx.Err() != nil {
			return nil
		}
		select {
		case <-q.changed:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// take returns a run if one is due, else how long until the first entry makes it due (0: the queue is empty).
func (q *queue) take(now bool) (run []*entry, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 {
		return nil, 0
	}
	if age := time.Since(q.entries[0].queued); !now && q.rows < q.opt.MaxRows && age < q.opt.MaxDelay {
		return nil, q.opt.MaxDelay - age
	}
	partitions := map[partition]struct{}{}
	rows, n := 0, 0
	for n < len(q.entries) && rows < q.opt.MaxRows {
		e := q.entries[n]
		if !fits(partitions, e.rows) && n > 0 {
			break
		}
		n++
		q.rows -= e.rows.Block.Rows
		if !e.state.CompareAndSwap(entryQueued, entryTaken) {
			continue // withdrawn: its waiter has left
		}
		for _, day := range e.rows.Days {
			partitions[partition{e.rows.Partition, day}] = struct{}{}
		}
		rows += e.rows.Block.Rows
		run = append(run, e)
	}
	rest := copy(q.entries, q.entries[n:])
	clear(q.entries[rest:])
	q.entries = q.entries[:rest]
	if len(run) == 0 && rest > 0 {
		return nil, time.Nanosecond // all withdrawn: look again at once
	}
	return run, 0
}

type partition struct {
	placement string
	day       uint16
}

// fits reports whether r can join partitions without passing MaxPartitions.
func fits(partitions map[partition]struct{}, r Rows) bool {
	n := len(partitions)
	for _, day := range r.Days {
		if _, ok := partitions[partition{r.Partition, day}]; !ok {
			n++
		}
	}
	return n <= MaxPartitions
}
