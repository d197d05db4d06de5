package storage

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/timetest"
)

// TestOldestIsKnownUntilTheLedgerHasIt: an hour of usage is final once nothing of it is on its way, so each receipt is known
// to be from before its request is durable until it is applied, across restarts.
func TestOldestIsKnownUntilTheLedgerHasIt(t *testing.T) {
	syncs := make(chan chan error, 1) // what a sync waits for, if anything
	r := newRig(t, LogOptions{FS: faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		select {
		case c := <-syncs:
			return <-c
		default:
			return nil
		}
	}}})
	var away atomic.Bool
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if away.Load() && chtest.IsInsert(q) {
			return chtest.Refuse
		}
		return chtest.Pass
	})
	away.Store(true)
	r.open()
	none := func() bool { _, ok := r.log.Oldest(); return !ok }
	if !none() {
		t.Error("an empty log has an oldest receipt")
	}

	before, outcome, failed := time.Now(), make(chan error, 1), make(chan error, 1)
	t.Cleanup(func() { close(outcome) }) // whatever fails here, the log can be closed
	syncs <- outcome
	go func() { failed <- r.append("a", 1) }()
	timetest.Eventually(t, "the append to begin", func() bool { return !none() })
	outcome <- errors.New("input/output error")
	if err := <-failed; !errors.Is(err, ErrUnavailable) {
		t.Errorf("append whose sync failed = %v, want ErrUnavailable", err)
	}
	timetest.Eventually(t, "the failed append to be forgotten", none)

	r.mustAppend("a", 1)
	oldest, ok := r.log.Oldest()
	if !ok || oldest.Before(before) || oldest.After(time.Now()) {
		t.Errorf("oldest %v, %v, want the time of the request", oldest, ok)
	}
	r.mustAppend("b", 1)
	same := func(when string) {
		t.Helper()
		if got, ok := r.log.Oldest(); !ok || !got.Equal(oldest) {
			t.Errorf("%s: oldest %v, %v, want %v", when, got, ok, oldest)
		}
	}
	same("with a younger one")
	r.restart()
	same("after a restart")
	r.ledger.fail.Store(true)
	away.Store(false)
	timetest.Eventually(t, "the rows in ClickHouse", func() bool { return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 2 })
	same("before the ledger has it")
	r.restart()
	same("after a restart in between")
	r.ledger.fail.Store(false)
	r.settled()
	timetest.Eventually(t, "nothing to be left", none)
	r.wantReceipts(2)
}
