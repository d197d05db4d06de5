package wal

import (
	"fmt"
	"hash/crc32"
	"sync"
)

// A request is one Append on its way.
type request struct {
	parts [][]byte
	frame frame // kind, sizes and checksums; the rest is set by whoever writes it
	pos   Position
	err   error
	done  chan struct{} // capacity 1
}

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// Append adds one entry, the parts one after the other, and returns when it is durable. Callers at the same time share
// a sync. The parts must not change before it returns, and are not kept.
//
// The first part, or its first MaxHeadBytes, is the entry's head: it has a checksum of its own and is all that
// ScanHeads reads.
//
// Errors: ErrTooLarge, ErrClosed, ErrFull, ErrFailed. After each of them the entry is not in the log; after the last
// two a later try may succeed.
func (l *Log) Append(parts ...[]byte) (Position, error) {
	r := requests.Get().(*request)
	r.parts = append(r.parts[:0], parts...)
	r.err = l.measure(r)
	if r.err == nil {
		// The sender computes the checksums: on its own core, while the group before is being synced.
		r.frame.headSum, r.frame.payloadSum = checksums(&l.id, int(r.frame.headSize), parts...)
		l.enqueue(r)
		<-r.done
	}
	pos, err := r.pos, r.err
	clear(r.parts)
	*r = request{parts: r.parts[:0], done: r.done}
	requests.Put(r)
	return pos, err
}

// measure sets the sizes.
func (l *Log) measure(r *request) error {
	var size int64
	for _, p := range r.parts {
		size += int64(len(p))
	}
	if size > l.opt.MaxEntryBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, l.opt.MaxEntryBytes)
	}
	r.frame.kind, r.frame.size = kindEntry, uint32(size)
	if len(r.parts) > 0 {
		r.frame.headSize = uint32(min(len(r.parts[0]), MaxHeadBytes))
	}
	return nil
}

// checksums returns those of a payload in parts whose head is within the first one.
func checksums(id *logID, headSize int, parts ...[]byte) (head, payload uint32) {
	sum := id.payloadSeed()
	head = sum
	for i, p := range parts {
		if i == 0 {
			sum = crc32.Update(sum, castagnoli, p[:headSize])
			head, p = sum, p[headSize:]
		}
		sum = crc32.Update(sum, castagnoli, p)
	}
	return head, sum
}

// enqueue puts r where the next group is taken from and sees to it that somebody takes it. The queue is bounded by
// its callers: each waits for its one entry.
func (l *Log) enqueue(r *request) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		r.err = ErrClosed
		r.done <- struct{}{}
		return
	}
	l.queue = append(l.queue, r)
	start := !l.committing
	if start {
		l.committing = true
		l.work.Add(1)
	}
	l.mu.Unlock()
	if start {
		l.spawn(l.commitLoop)
	}
}

// commitAll commits groups until nobody waits. While one is being synced the next gathers.
func (l *Log) commitAll() {
	defer l.work.Done()
	for {
		l.writing.Lock()
		batch := l.take()
		if len(batch) == 0 {
			l.writing.Unlock()
			return
		}
		l.commit(batch)
		l.writing.Unlock()
	}
}

// take returns the entries of the next group, none when there are none; then the caller must stop.
func (l *Log) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.committing = false
		return nil
	}
	n, size := 0, int64(0)
	for n < len(l.queue) && n < maxGroupEntries {
		if size += int64(l.queue[n].frame.size); n > 0 && size > maxGroupBytes {
			break
		}
		n++
	}
	l.batch = append(l.batch[:0], l.queue[:n]...)
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	return l.batch
}
