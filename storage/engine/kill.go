package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// killer stops running statements from a connection of its own: a connection cannot be interrupted from the outside, and
// the stream interface cancels only between blocks. A statement is known by a comment in its text, because the library
// gives no say in its query id.
type killer struct {
	log  *slog.Logger
	next atomic.Uint64

	mu   sync.Mutex // guards conn, which runs one statement at a time
	conn *conn
}

const killEvery = 100 * time.Millisecond

// tag returns a comment that names one statement.
func (k *killer) tag() string { return fmt.Sprintf("/*headgate:%d*/", k.next.Add(1)) }

// watch kills the statement with the tag once ctx is done, again and again until stop is called: a statement that is
// still being prepared is not on the engine's list yet. stop waits for the last kill.
func (k *killer) watch(ctx context.Context, tag string) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		tick := time.NewTicker(killEvery)
		defer tick.Stop()
		for {
			k.kill(tag)
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (k *killer) kill(tag string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// The tag is put together by the engine, so that this statement does not match itself.
	sql := fmt.Sprintf("KILL QUERY WHERE position(query, concat('/*', %s)) > 0 ASYNC", quote(tag[2:]))
	if err := k.conn.exec(sql); err != nil {
		k.log.Warn("kill statement", "err", err)
	}
}
