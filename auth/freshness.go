package auth

import (
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	// lookPatience is how long a look for changes may take before memory counts as old.
	lookPatience = time.Second
	// clockSkew is how far the clocks of replicas may be apart, of which one makes a key and another asks for it.
	clockSkew = time.Minute
)

// freshness is what is known of the age of memory. begin and then fail or succeed are called by one goroutine at a time,
// misses by any.
type freshness struct {
	begun  atomic.Int64 // unix milliseconds of the look that is under way or was the last
	at     atomic.Int64 // of the last that succeeded: memory has what was made before
	failed atomic.Bool  // the last one did
}

func (f *freshness) begin(now time.Time) { f.begun.Store(now.UnixMilli()) }

func (f *freshness) fail() { f.failed.Store(true) }

func (f *freshness) succeed() {
	f.at.Store(f.begun.Load())
	f.failed.Store(false)
}

// misses reports whether a key of that id, which memory does not have, may exist all the same: the database cannot be read,
// and the id says that it was made since it could.
//
// SECURITY: anybody can make up such an id. It is answered so whether the key exists or not, and opens nothing.
func (f *freshness) misses(id string, now time.Time) bool {
	at, begun := f.at.Load(), f.begun.Load()
	if !f.failed.Load() && (begun == at || now.UnixMilli()-begun < lookPatience.Milliseconds()) {
		return false
	}
	made, err := ulid.ParseStrict(id)
	return err == nil && int64(made.Time()) > at-clockSkew.Milliseconds() && int64(made.Time()) < now.UnixMilli()+clockSkew.Milliseconds()
}
