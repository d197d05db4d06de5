package prom

import (
	"context"
	"errors"
	"sync"
	"time"
)

// slots bound how many requests evaluate at a time: so many in all, so many of one scope. They bound what the engine of
// PromQL takes of this process; what its reads take of ClickHouse, the gate of query.Reader bounds. Safe for concurrent
// use.
type slots struct {
	all   chan struct{}
	scope int

	mu     sync.Mutex
	scopes map[string]*scopeSlots // guarded by mu; those in use
}

type scopeSlots struct {
	places chan struct{}
	users  int // that wait or have a place
}

// The bounds of waiting.
const (
	maxWait    = 5 * time.Second
	maxWaiting = 50 // of one scope
)

var errBusy = errors.New("too many queries at once")

func newSlots(all, scope int) *slots {
	return &slots{all: make(chan struct{}, all), scope: scope, scopes: map[string]*scopeSlots{}}
}

// enter waits for a place and returns the function that gives it back, to be called once. It fails with errBusy, or when
// ctx ends.
func (s *slots) enter(ctx context.Context, scope string) (leave func(), err error) {
	s.mu.Lock()
	own := s.scopes[scope]
	if own == nil {
		own = &scopeSlots{places: make(chan struct{}, s.scope)}
		s.scopes[scope] = own
	}
	if own.users >= s.scope+maxWaiting {
		s.mu.Unlock()
		return nil, errBusy
	}
	own.users++
	s.mu.Unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, maxWait, errBusy)
	defer cancel()
	if err := take(ctx, own.places); err != nil {
		s.gone(scope, own)
		return nil, err
	}
	if err := take(ctx, s.all); err != nil {
		<-own.places
		s.gone(scope, own)
		return nil, err
	}
	return func() {
		<-s.all
		<-own.places
		s.gone(scope, own)
	}, nil
}

func take(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *slots) gone(scope string, own *scopeSlots) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(s.scopes, scope)
	}
}
