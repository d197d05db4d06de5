package query

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync"
	"time"
)

// cacheKey names an answer: what is asked, and of which tenants.
//
// SECURITY: it is Stmt.fingerprint, which has the scope. A key that leaves the scope out would show one tenant another's
// answer. Who may ask at all is decided before the cache is asked.
type cacheKey [sha256.Size]byte

// cache keeps whole answers for a short time, and lets one caller alone ask the engine what several ask at once. It never
// keeps errors, nor results that were cut. When it is full, the answer that was not used for longest goes; a scope has no
// more than a quarter, so that it costs another nothing but memory. Safe for concurrent use.
type cache struct {
	maxBytes int64
	now      func() time.Time
	metrics  *metrics

	mu       sync.Mutex
	answers  map[cacheKey]*list.Element // guarded by mu
	used     *list.List                 // of *entry, the last used first; guarded by mu
	bytes    int64                      // guarded by mu
	perScope map[string]int64           // bytes; guarded by mu; no zero entries
	flights  map[cacheKey]*flight       // guarded by mu
}

// entry is the lines of a whole result as the engine sent them. It is not changed once it is made.
type entry struct {
	key   cacheKey
	scope string
	made  time.Time // when the engine was asked
	lines []byte
}

// flight is a question that is before the engine.
type flight struct {
	done  chan struct{} // closed when it is decided
	alone bool          // the answer cannot be kept: who waited asks for itself; set before done is closed
}

const (
	maxAnswerBytes = 1 << 20
	answerOverhead = 512 // of an answer beside its lines, roughly
	scopeShare     = 4   // a scope has at most one of so many parts
	// maxAnswerAge is the oldest answer that a request may take.
	maxAnswerAge = time.Minute
)

func newCache(maxBytes int64, m *metrics) *cache {
	return &cache{
		maxBytes: maxBytes, now: time.Now, metrics: m, answers: map[cacheKey]*list.Element{}, used: list.New(),
		perScope: map[string]int64{}, flights: map[cacheKey]*flight{},
	}
}

// lookup returns an answer of at most that age, or, with ask true, leaves it to the caller to ask the engine and to call
// land. It waits while another caller asks the same. ask is false with a nil answer when what that caller got cannot be
// kept: then the caller asks for itself and does not call land.
func (c *cache) lookup(ctx context.Context, key cacheKey, maxAge time.Duration) (a *entry, ask bool, err error) {
	for joined := false; ; joined = true {
		c.mu.Lock()
		if a := c.findLocked(key, maxAge); a != nil {
			c.mu.Unlock()
			c.metrics.cached(joined)
			return a, false, nil
		}
		f := c.flights[key]
		if f == nil {
			c.flights[key] = &flight{done: make(chan struct{})}
			c.mu.Unlock()
			c.metrics.cache.WithLabelValues("miss").Inc()
			return nil, true, nil
		}
		c.mu.Unlock()
		select {
		case <-f.done:
			if f.alone {
				c.metrics.cache.WithLabelValues("miss").Inc()
				return nil, false, nil
			}
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

func (c *cache) findLocked(key cacheKey, maxAge time.Duration) *entry {
	e := c.answers[key]
	if e == nil {
		return nil
	}
	a := e.Value.(*entry)
	switch age := c.now().Sub(a.made); {
	case age > maxAnswerAge:
		c.dropLocked(e)
		return nil
	case age > maxAge:
		return nil
	}
	c.used.MoveToFront(e)
	return a
}

// land ends the flight that lookup began for the key. A nil answer is kept by nobody; gone says that this is only because
// its caller left, so that one of those who waited asks again for all.
func (c *cache) land(key cacheKey, a *entry, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flights[key]
	delete(c.flights, key)
	f.alone = a == nil && !gone
	if a != nil {
		c.keepLocked(a)
	}
	close(f.done)
}

func (c *cache) keepLocked(a *entry) {
	if old := c.answers[a.key]; old != nil {
		c.dropLocked(old)
	}
	size := a.size()
	for c.perScope[a.scope]+size > c.maxBytes/scopeShare {
		if !c.dropLastLocked(func(o *entry) bool { return o.scope == a.scope }) {
			return
		}
	}
	for c.bytes+size > c.maxBytes {
		if !c.dropLastLocked(func(*entry) bool { return true }) {
			return
		}
	}
	c.answers[a.key] = c.used.PushFront(a)
	c.bytes += size
	c.perScope[a.scope] += size
	c.metrics.cacheBytes.Set(float64(c.bytes))
}

// dropLastLocked drops the answer that was not used for longest among those that match.
func (c *cache) dropLastLocked(match func(*entry) bool) bool {
	for e := c.used.Back(); e != nil; e = e.Prev() {
		if match(e.Value.(*entry)) {
			c.dropLocked(e)
			return true
		}
	}
	return false
}

func (c *cache) dropLocked(e *list.Element) {
	a := c.used.Remove(e).(*entry)
	delete(c.answers, a.key)
	c.bytes -= a.size()
	if c.perScope[a.scope] -= a.size(); c.perScope[a.scope] == 0 {
		delete(c.perScope, a.scope)
	}
	c.metrics.cacheBytes.Set(float64(c.bytes))
}

func (a *entry) size() int64 { return int64(len(a.lines) + len(a.scope) + answerOverhead) }

// RunWithin is Run for results in Rows, of which one that was asked for within maxAge may be returned again. The scope is
// part of what is asked.
func (r *Reader) RunWithin(ctx context.Context, st Stmt, maxAge time.Duration) (*Result, error) {
	if r.cache == nil || maxAge <= 0 || st.sql == "" || !st.scope.Valid() {
		return r.Run(ctx, st, Rows)
	}
	if err := r.refused(newID()); err != nil {
		return nil, err
	}
	began, key := time.Now(), cacheKey(st.fingerprint())
	a, ask, err := r.cache.lookup(ctx, key, min(maxAge, maxAnswerAge))
	switch {
	case err != nil:
		return nil, r.failure(newID(), err)
	case a != nil:
		return r.replay(st, a, began), nil
	case !ask:
		return r.Run(ctx, st, Rows)
	}
	a = &entry{key: key, scope: strings.Join(st.scope.Strings(), ","), made: r.cache.now()}
	var keep *entry
	defer func() { r.cache.land(key, keep, ctx.Err() != nil) }()
	res, err := r.Run(ctx, st, Rows)
	if err != nil {
		return nil, err
	}
	if a.lines, err = res.gather(maxAnswerBytes); err == nil && !st.cuts(a.lines) {
		keep = a
	}
	return res, nil
}

// replay makes a result of a kept answer.
func (r *Reader) replay(st Stmt, a *entry, began time.Time) *Result {
	res := &Result{reader: r, id: newID(), stmt: st, began: began, end: func() {}, cause: func() error { return nil }, cached: true, age: r.cache.now().Sub(a.made)}
	res.read(bytes.NewReader(a.lines))
	return res
}

// gather reads all lines of a result ahead, unless they are more than so many bytes or break off, and gives the place
// back: who reads them slowly keeps nobody from asking. The result reads as before.
func (r *Result) gather(most int64) ([]byte, error) {
	var b bytes.Buffer
	_, err := io.CopyN(&b, r.stream, most+1)
	switch {
	case err == nil:
		err = errTooLong
		r.read(io.MultiReader(&b, r.stream))
		return nil, err
	case !errors.Is(err, io.EOF):
		r.read(io.MultiReader(&b, errorReader{err}))
		return nil, err
	}
	r.release()
	r.read(bytes.NewReader(b.Bytes()))
	return b.Bytes(), nil
}

var errTooLong = errors.New("result is too long to be kept")

// errorReader is what comes after the bytes that came before an error.
type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// cuts reports whether a result of these lines does not hold all that was asked for.
func (s Stmt) cuts(lines []byte) bool {
	n := bytes.Count(lines, []byte{'\n'})
	if s.page != nil {
		return n >= s.page.sent
	}
	return n > s.limit
}
