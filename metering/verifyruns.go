package metering

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// runPart is the part of a run that was received in one hour.
type runPart struct {
	hour   int64
	signal Signal
}

// recordRun writes down what a run adds to the ledger: rows, by their hours of receipt. It belongs into the transaction that adds it: the sums over all runs
// are those of the ledger at every moment. A run without receipts (rows that were set aside and are tried again) is recorded
// too, so that rows of it in ClickHouse have their run.
func recordRun(ctx context.Context, tx *store.Tx, log string, run uint64, at time.Time, rows map[row]sums) error {
	parts := map[runPart]sums{}
	for r, s := range rows {
		k := runPart{r.hour, r.signal}
		part := parts[k]
		part.add(s)
		parts[k] = part
	}
	if len(rows) == 0 {
		parts[runPart{}] = sums{}
	}
	for k, s := range parts {
		// A run is applied once. Should its row be there all the same, the sums still tell what was added.
		_, err := tx.ExecContext(ctx, `INSERT INTO usage_runs (run, log_id, hour, signal, applied_at, receipts, records,
				billed_bytes, overage_bytes, unbilled_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (run, log_id, hour, signal) DO UPDATE SET `+addRun,
			int64(run), log, k.hour, string(k.signal), at.UnixMilli(), s.requests, s.records, s.billed, s.overage, s.unbilled)
		if err != nil {
			return fmt.Errorf("record run: %w", err)
		}
	}
	return nil
}

const addRun = `receipts = usage_runs.receipts + excluded.receipts, records = usage_runs.records + excluded.records,
	billed_bytes = usage_runs.billed_bytes + excluded.billed_bytes,
	overage_bytes = usage_runs.overage_bytes + excluded.overage_bytes,
	unbilled_bytes = usage_runs.unbilled_bytes + excluded.unbilled_bytes`

// keptRuns is how long runs are kept one by one.
const keptRuns = 72 * time.Hour

// addUpRuns adds the runs of hours before an hour up in one row per hour and signal, an hour in each transaction: others
// write in between.
func (l *Ledger) addUpRuns(ctx context.Context, before time.Time) error {
	for {
		var hour sql.NullInt64
		err := l.db.Update(ctx, func(tx *store.Tx) error {
			err := tx.QueryRowContext(ctx, `SELECT MIN(hour) FROM usage_runs WHERE hour > 0 AND hour < ? AND log_id <> ''`,
				hourOf(before)).Scan(&hour)
			if err != nil || !hour.Valid {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO usage_runs (run, log_id, hour, signal, applied_at, receipts, records,
					billed_bytes, overage_bytes, unbilled_bytes)
				SELECT 0, '', hour, signal, 0, CAST(SUM(receipts) AS BIGINT), CAST(SUM(records) AS BIGINT),
					CAST(SUM(billed_bytes) AS BIGINT), CAST(SUM(overage_bytes) AS BIGINT), CAST(SUM(unbilled_bytes) AS BIGINT)
				FROM usage_runs WHERE hour = ? AND log_id <> '' GROUP BY hour, signal
				ON CONFLICT (run, log_id, hour, signal) DO UPDATE SET `+addRun, hour.Int64)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `DELETE FROM usage_runs WHERE hour = ? AND log_id <> ''`, hour.Int64)
			return err
		})
		if err != nil {
			return fmt.Errorf("add up runs: %w", err)
		}
		if !hour.Valid {
			break
		}
	}
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM usage_runs WHERE hour = 0 AND log_id <> '' AND applied_at < ?`, before.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("forget runs without receipts: %w", err)
	}
	return nil
}

// runs compares the records of every run and hour. drifted are the hours in which tenants differ.
//
// A run's rows may differ from what it brought for good reasons that nothing durable tells: requests that were set aside, or
// tried again without their receipt in a later run; rows that were deleted or have expired; the tables of metrics that a run
// had reached before it was split in halves. Then the tenants of the hour agree all the same, for they are compared exactly.
// So it is drift where they do not, and only counted where they do. But rows of logs, spans or profiles whose run is nowhere
// are drift in any case: such a run has one table, which has all of its rows or none.
func (c *comparison) runs(ctx context.Context, s Signal, drifted map[int64]sides) error {
	from, err := c.ledger.runsFrom(ctx, c.from, c.to)
	if err != nil {
		return err
	}
	if from > c.from {
		c.skip(Skipped{Reason: SkipRunsGone, Signal: s, Count: (from - c.from) / hourSeconds})
	}
	if from >= c.to {
		return nil
	}
	if c.waiting, err = c.ledger.waiting(ctx); err != nil {
		return err
	}
	p := &runPass{hourPass[uint64]{comparison: c, signal: s, kind: DriftRuns, hour: from}, drifted}
	p.load, p.compare = p.brought, p.decide
	return p.over(ctx, func(see func(hour int64, run uint64, have int64) error) error {
		return c.stored.UnsafeByRun(ctx, string(s), from, c.to, see)
	})
}

// runsFrom returns the first hour from which on runs are kept one by one.
func (l *Ledger) runsFrom(ctx context.Context, from, to int64) (int64, error) {
	var last sql.NullInt64
	err := l.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT MAX(hour) FROM usage_runs WHERE run = 0 AND log_id = '' AND hour < ?`, to).Scan(&last)
	})
	if err != nil {
		return 0, fmt.Errorf("look for runs: %w", err)
	}
	if last.Valid {
		from = max(from, last.Int64+hourSeconds)
	}
	return from, nil
}

// runPass compares the records of each run. drifted are the hours in which tenants differ.
type runPass struct {
	hourPass[uint64]
	drifted map[int64]sides
}

// brought reads what the ledger has of the hour's runs.
func (p *runPass) brought(ctx context.Context) (map[uint64]int64, error) {
	out := map[uint64]int64{}
	return out, p.ledger.db.View(ctx, func(tx *store.Tx) error {
		clear(out)
		rows, err := tx.QueryContext(ctx, `SELECT run, records FROM usage_runs WHERE hour = ? AND signal = ? AND log_id <> ''`,
			p.hour, string(p.signal))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var run, n int64
			if err := rows.Scan(&run, &n); err != nil {
				return err
			}
			if n > 0 {
				out[uint64(run)] += n
			}
		}
		return rows.Err()
	})
}

// decide says whether one run of the hour drifts.
func (p *runPass) decide(ctx context.Context, run uint64, want, have int64) error {
	p.report.Runs++
	if want == have {
		return nil
	}
	d := Drift{Kind: DriftRuns, Hour: time.Unix(p.hour, 0).UTC(), Signal: p.signal, Run: strconv.FormatUint(run, 10),
		Field: "records", Want: want, Have: have}
	side := p.drifted[p.hour]
	drifts := have < want && side.fewer || have > want && side.more
	if want == 0 {
		known, err := p.known(ctx, run)
		if err != nil {
			return err
		}
		if !known {
			d.Note = "the ledger does not know the run"
			drifts = drifts || p.signal != Metrics && p.hour < p.waiting
		}
	}
	if drifts {
		p.report.drift(d)
	} else {
		p.skip(Skipped{Reason: SkipRun, Signal: p.signal, Count: 1, Records: max(want-have, have-want)})
	}
	return nil
}

// known reports whether a run was applied, or is still in the log.
func (p *runPass) known(ctx context.Context, run uint64) (bool, error) {
	if p.stored.Recorded(run) {
		return true, nil
	}
	n := 0
	err := p.ledger.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM usage_runs WHERE run = ? AND log_id <> ''`, int64(run)).Scan(&n)
	})
	if err != nil {
		return false, fmt.Errorf("look for run %d: %w", run, err)
	}
	return n > 0, nil
}
