package ingest

import (
	"container/list"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// turns bounds how many requests use processor and memory at once to inflate, decode and encode, and lets tenants take
// turns: who has many requests waits for its own, not the others for it. It is safe for concurrent use.
//
// SECURITY: two hundred bodies that are inflated at once on two cores let everybody else wait for two hundred time slices,
// and take two hundred times the memory of one.
type turns struct {
	each int // of one tenant

	mu    sync.Mutex // guards the fields below
	free  int
	lines map[tenant.ID]*line // of tenants that have a turn or wait for one
	order list.List           // of *line, those that wait; whose turn is next comes first
}

// line is one tenant's requests.
type line struct {
	running int
	waiting list.List // of chan struct{}, closed when it is a request's turn
	place   *list.Element
}

func newTurns(all, each int) *turns {
	return &turns{each: each, free: all, lines: map[tenant.ID]*line{}}
}

// smallTurns and largeTurns make as many turns as the processors have use for and the memory has room for: the rows that
// a decoder makes of a body, beside the body itself, take up to 16 MiB and three times its size. Some more small ones than
// there are processors let a tenant in at once that comes after another's; half of the processors are enough for large
// ones. One tenant never has all.
func smallTurns(o Options) *turns {
	cores := int64(runtime.GOMAXPROCS(0))
	all := max(2, min(4*cores, o.MaxInFlightBytes/(16*smallBody)))
	return newTurns(int(all), int(min(cores, all-1)))
}

func largeTurns(o Options) *turns {
	all := max(1, min(int64(runtime.GOMAXPROCS(0))/2, o.MaxInFlightBytes/(8*o.MaxBodyBytes)))
	return newTurns(int(all), int(max(1, all-1)))
}

// slowTurns make half of the processors available to small bodies of all keys that are suspect.
func slowTurns(o Options) *turns {
	all := max(1, min(int64(runtime.GOMAXPROCS(0))/2, o.MaxInFlightBytes/(16*smallBody)))
	return newTurns(int(all), 1)
}

var errNoTurn = errors.New("waited too long for others")

// take waits for a turn of t, at most for the given time. Each that it gives must be given back by give.
func (q *turns) take(ctx context.Context, t tenant.ID, patience time.Duration) error {
	q.mu.Lock()
	l := q.lines[t]
	if l == nil {
		l = &line{}
		q.lines[t] = l
	}
	turn := make(chan struct{})
	at := l.waiting.PushBack(turn)
	if l.place == nil {
		l.place = q.order.PushBack(l)
	}
	q.next()
	q.mu.Unlock()

	select {
	case <-turn:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case <-turn:
		return nil
	case <-timer.C:
		err = errNoTurn
	case <-ctx.Done():
		err = errClientGone
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-turn: // in the same moment
		return nil
	default:
	}
	l.waiting.Remove(at)
	q.tidy(t, l)
	return err
}

// give ends a turn of t.
func (q *turns) give(t tenant.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[t]
	l.running--
	q.free++
	q.next()
	q.tidy(t, l)
}

// next begins turns while there are free ones. The caller holds mu.
func (q *turns) next() {
	for e := q.order.Front(); e != nil && q.free > 0; {
		l, after := e.Value.(*line), e.Next()
		if l.running < q.each {
			q.free--
			l.running++
			close(l.waiting.Remove(l.waiting.Front()).(chan struct{}))
			if l.waiting.Len() == 0 {
				q.leave(l)
			} else {
				q.order.MoveToBack(e)
				if after == nil {
					after = q.order.Front()
				}
			}
		}
		e = after
	}
}

func (q *turns) leave(l *line) {
	q.order.Remove(l.place)
	l.place = nil
}

// tidy forgets what is of no more use. The caller holds mu.
func (q *turns) tidy(t tenant.ID, l *line) {
	if l.waiting.Len() > 0 {
		return
	}
	if l.place != nil {
		q.leave(l)
	}
	if l.running == 0 {
		delete(q.lines, t)
	}
}
