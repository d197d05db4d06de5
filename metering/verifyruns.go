package metering

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// runRow is the part of a run that was received in one hour.
type runRow struct {
	hour   int64
	signal Signal
}

// recordRun writes down what a run adds to the ledger. It belongs into the transaction that adds it: the sums over all runs
// are those of the ledger at every moment. A run without receipts (rows that were set aside and are tried again) is recorded
// too, so that rows of it in ClickHouse have their run.
func recordRun(ctx context.Context, tx *store.Tx, log string, run uint64, at time.Time, receipts []Receipt) error {
	parts := map[runRow]sums{}
	for _, r := range receipts {
		k, s := r.row()
		part := parts[runRow{k.hour, k.signal}]
		part.add(s)
		parts[runRow{k.hour, k.signal}] = part
	}
	if len(receipts) == 0 {
		parts[runRow{}] = sums{}
	}
	for k, s := range parts {
		// A run is applied once. Should its row be there all the same, the sums still tell what was added.
		_, err := tx.ExecContext(ctx, `INSERT INTO usage_runs (run, log_id, hour, signal, applied_at, receipts, records,
				billed_bytes, overage_bytes, unbilled_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (run, log_id, hour, signal) DO UPDATE SET receipts = usage_runs.receipts + excluded.receipts,
				records = usage_runs.records + excluded.records,
				billed_bytes = usage_runs.billed_bytes + excluded.billed_bytes,
				overage_bytes = usage_runs.overage_bytes + excluded.overage_bytes,
				unbilled_bytes = usage_runs.unbilled_bytes + excluded.unbilled_bytes`,
			int64(run), log, k.hour, string(k.signal), at.UnixMilli(), s.requests, s.records, s.billed, s.overage, s.unbilled)
		if err != nil {
			return fmt.Errorf("record run: %w", err)
		}
	}
	return nil
}
