package metering

import (
	"context"
	"fmt"
)

// LogLedger is a Ledger as one log of requests sees it: receipts are the bytes of Receipt.AppendBinary, and the log's name
// is understood. See Ledger for what the methods promise.
type LogLedger struct {
	ledger *Ledger
	log    string
}

// ForLog returns the ledger of the log with that name.
func (l *Ledger) ForLog(name string) LogLedger { return LogLedger{l, name} }

// Apply adds the receipts of a run, once.
func (l LogLedger) Apply(ctx context.Context, run uint64, receipts [][]byte) error {
	rs := make([]Receipt, len(receipts))
	for i, raw := range receipts {
		var err error
		if rs[i], _, err = ReadReceipt(raw); err != nil {
			return fmt.Errorf("apply run %d of log %s: %w", run, l.log, err)
		}
	}
	_, err := l.ledger.Apply(ctx, l.log, run, rs)
	return err
}

// Applied returns which of the runs are in the ledger.
func (l LogLedger) Applied(ctx context.Context, runs []uint64) (map[uint64]bool, error) {
	return l.ledger.Applied(ctx, l.log, runs)
}

// NewestRun returns the highest run that was applied or forgotten.
func (l LogLedger) NewestRun(ctx context.Context) (uint64, error) {
	return l.ledger.NewestRun(ctx, l.log)
}

// Forget says that runs before the given one are not asked about any more.
func (l LogLedger) Forget(ctx context.Context, before uint64) error {
	return l.ledger.ForgetRuns(ctx, l.log, before)
}
