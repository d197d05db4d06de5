package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// killer stops running statements from a connection of its own: a connection cannot be interrupted from the outside, and
// the stream interface cancels only between blocks.
//
// The library gives no say in the query id, and a comment in the text is lost when parameters are bound. So each connection
// has a number in a setting that means nothing without an HTTP server of ClickHouse's own; the engine lists a statement's
// settings with it.
type killer struct {
	log  *slog.Logger
	last atomic.Uint64

	mu   sync.Mutex // guards conn, which runs one statement at a time
	conn *conn
}

const (
	killSetting = "http_max_uri_size"
	killBase    = 1 << 40 // above any value that someone may set in earnest
	killEvery   = 100 * time.Millisecond
)

// number returns a number for one connection.
func (k *killer) number() uint64 { return killBase + k.last.Add(1) }

func killArg(number uint64) string { return "--" + killSetting + "=" + strconv.FormatUint(number, 10) }

// watch kills what the connection with the number runs once ctx is done, again and again until stop is called: a statement
// that is still being prepared is not on the engine's list yet. stop waits for the last kill.
func (k *killer) watch(ctx context.Context, number uint64) (stop func()) {
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
			k.kill(number)
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

func (k *killer) kill(number uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.conn.exec(fmt.Sprintf("KILL QUERY WHERE Settings['%s'] = '%d' ASYNC", killSetting, number)); err != nil {
		k.log.Warn("kill statement", "err", err)
	}
}
