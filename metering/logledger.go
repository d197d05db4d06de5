package metering

import (
	"context"
	"fmt"
	"sync"
)

// LogLedger is a Ledger as one log of requests sees it: receipts are the bytes of Receipt.AppendBinary, and the log's name
// is understood. See Ledger for what the methods promise.
type LogLedger struct {
	ledger *Ledger
	log    string

	mu    sync.Mutex // guards doubt
	doubt map[uint64]bool
}

// ForLog returns the ledger of the log with that name. There is one for each log.
func (l *Ledger) ForLog(name string) *LogLedger {
	return &LogLedger{ledger: l, log: name, doubt: map[uint64]bool{}}
}

// Apply adds the receipts of a run, once. A log calls it for a run until it returns nil, and does not call it for runs that
// Applied has named.
func (l *LogLedger) Apply(ctx context.Context, run uint64, receipts [][]byte) error {
	rs := make([]Receipt, len(receipts))
	for i, raw := range receipts {
		r, rest, err := ReadReceipt(raw)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("receipt: %d bytes are left over", len(rest))
		}
		if err != nil {
			return fmt.Errorf("apply run %d of log %s: %w", run, l.log, err)
		}
		rs[i] = r
	}
	applied, err := l.ledger.Apply(ctx, l.log, run, rs)
	if tried := l.try(run, err != nil); err == nil && !applied && !tried {
		// It was in the ledger before anybody tried, so these are receipts of another run of the same number.
		l.ledger.log.Error("a new run has the number of one that is billed; its receipts are not billed",
			"log", l.log, "run", run, "receipts", len(rs))
	}
	return err
}

// try notes the outcome of a try to apply run, and reports whether one before it has failed: that one may have been
// committed all the same.
func (l *LogLedger) try(run uint64, failed bool) (tried bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tried = l.doubt[run]
	if failed {
		l.doubt[run] = true
	} else {
		delete(l.doubt, run)
	}
	return tried
}

// Applied returns which of the runs are in the ledger.
func (l *LogLedger) Applied(ctx context.Context, runs []uint64) (map[uint64]bool, error) {
	return l.ledger.Applied(ctx, l.log, runs)
}

// NewestRun returns the highest run that was applied or forgotten.
func (l *LogLedger) NewestRun(ctx context.Context) (uint64, error) {
	return l.ledger.NewestRun(ctx, l.log)
}

// Forget says that runs before the given one are not asked about any more.
func (l *LogLedger) Forget(ctx context.Context, before uint64) error {
	return l.ledger.ForgetRuns(ctx, l.log, before)
}
