package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/headgate-io/headgate/internal/store"
)

// Apply adds the receipts of a run to the ledger, once: the first call for a log and a run that returns nil has added all
// of them and returns true; every other one changes nothing and returns false. log names the log's directory for ever. Its
// runs are numbered upwards and a number is never used again for other receipts, which NewestRun helps with: false for a run
// that was never tried before means that its receipts are not billed.
//
// The receipts and the run's id are one transaction, synced when Apply returns nil. With an error nothing is kept, unless
// the commit itself failed in doubt; either way the same call is made again, for as long as it takes. The receipts of a
// run are those that ReadReceipt returned: one that the ledger's table cannot hold fails the run.
//
// A receipt's hour is open as long as Pending knows the receipt. If it is sealed all the same (somebody restored an old log)
// the receipt becomes part of a correction of its hour, dated in the first hour that is open, counted and logged: what was
// sealed stays, and nothing is lost.
//
// A tenant or key that was deleted while its receipts waited in the log is billed like any other: what was acknowledged
// is owed. The ledger has no reference to either, and a tenant's row keeps the name for the bill.
func (l *Ledger) Apply(ctx context.Context, log string, run uint64, receipts []Receipt) (applied bool, err error) {
	for i := range receipts {
		if err := receipts[i].check(); err != nil {
			return false, fmt.Errorf("apply run %d of log %s: %w", run, log, err)
		}
	}
	var late int64 // requests
	err = l.update(ctx, func(tx *store.Tx, open int64) error {
		var err error
		if applied, err = insertRun(ctx, tx, log, run); err != nil || !applied {
			return err
		}
		rows, err := bill(ctx, &dayUses{tx: tx, log: log, now: l.now(), grown: map[accountKey]growth{}, known: map[accountKey]int64{}}, receipts)
		if err != nil {
			return err
		}
		if err := recordRun(ctx, tx, log, run, l.now(), rows); err != nil {
			return err
		}
		timely, tooLate := split(rows, open)
		for _, s := range tooLate {
			late += s.requests
		}
		if err := addLate(ctx, tx, lateRun{log, run, open, l.now()}, tooLate); err != nil {
			return err
		}
		return addRows(ctx, tx, timely)
	})
	if err != nil {
		l.m.commitFailures.Inc()
		return false, fmt.Errorf("apply run %d of log %s: %w", run, log, err)
	}
	if applied {
		l.applied(log, run, len(receipts), late)
	}
	return applied, nil
}

// bill adds the receipts to the accounts they count against, and returns the rows they are billed in.
func bill(ctx context.Context, uses *dayUses, receipts []Receipt) (map[row]sums, error) {
	rows := map[row]sums{}
	for i := range receipts {
		over, err := uses.debit(ctx, &receipts[i])
		if err != nil {
			return nil, err
		}
		k, s := receipts[i].row()
		s.overage = over
		add(rows, k, s)
	}
	return rows, uses.write(ctx)
}

func (l *Ledger) applied(log string, run uint64, receipts int, late int64) {
	l.m.receipts.Add(float64(receipts))
	if late > 0 {
		l.m.lateReceipts.Add(float64(late))
		l.log.Warn("receipts came after their hour was sealed; they are billed as corrections in the first open hour",
			"log", log, "run", run, "receipts", late)
	}
}

// insertRun records the run and reports whether it was not there before.
func insertRun(ctx context.Context, tx *store.Tx, log string, run uint64) (bool, error) {
	before, err := forgottenBefore(ctx, tx, log)
	if err != nil || run < before {
		return false, err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO applied_runs (log_id, run) VALUES (?, ?) ON CONFLICT DO NOTHING`, log, int64(run))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// forgottenBefore returns the run before which all runs of the log count as applied.
func forgottenBefore(ctx context.Context, tx *store.Tx, log string) (uint64, error) {
	var before int64
	err := tx.QueryRowContext(ctx, `SELECT forgotten_before FROM applied_logs WHERE log_id = ?`, log).Scan(&before)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return uint64(before), err
}

// Applied returns which of the runs have their receipts in the ledger. After a crash it decides what is still to be
// applied, and what the meter is to be told by Restore.
func (l *Ledger) Applied(ctx context.Context, log string, runs []uint64) (map[uint64]bool, error) {
	out := map[uint64]bool{}
	err := l.db.View(ctx, func(tx *store.Tx) error {
		before, err := forgottenBefore(ctx, tx, log)
		if err != nil {
			return err
		}
		stmt, err := tx.PrepareContext(ctx, `SELECT count(*) FROM applied_runs WHERE log_id = ? AND run = ?`)
		if err != nil {
			return err
		}
		defer stmt.Close()
		for _, run := range runs {
			var n int
			if err := stmt.QueryRowContext(ctx, log, int64(run)).Scan(&n); err != nil {
				return err
			}
			if n > 0 || run < before {
				out[run] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for applied runs of log %s: %w", log, err)
	}
	return out, nil
}

// NewestRun returns the highest run of the log that was applied or forgotten, 0 if there is none. A log that starts numbers
// its runs from beyond it: one that was restored from a backup would use numbers again, and what is new would count as
// applied.
func (l *Ledger) NewestRun(ctx context.Context, log string) (run uint64, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		before, err := forgottenBefore(ctx, tx, log)
		if err != nil {
			return err
		}
		if before > 0 {
			run = before - 1
		}
		var newest int64
		err = tx.QueryRowContext(ctx, `SELECT run FROM applied_runs WHERE log_id = ? ORDER BY run < 0 DESC, run DESC LIMIT 1`,
			log).Scan(&newest)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		run = uint64(newest) // no row is before the forgotten ones
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look for the newest run of log %s: %w", log, err)
	}
	return run, nil
}

// ForgetRuns gives back the space of the log's runs before the given one. It is called once the log's checkpoint has
// passed them for good, and from then on they count as applied: a log that is restored from a backup bills nothing twice.
func (l *Ledger) ForgetRuns(ctx context.Context, log string, before uint64) error {
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		known, err := forgottenBefore(ctx, tx, log)
		if err != nil || before <= known {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO applied_logs (log_id, forgotten_before) VALUES (?, ?)
			ON CONFLICT (log_id) DO UPDATE SET forgotten_before = excluded.forgotten_before`, log, int64(before))
		if err != nil {
			return err
		}
		// The pairs order the ids as unsigned numbers.
		_, err = tx.ExecContext(ctx, `DELETE FROM applied_runs WHERE log_id = ? AND (run < 0, run) < (?, ?)`,
			log, int64(before) < 0, int64(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("forget runs of log %s before %d: %w", log, before, err)
	}
	return nil
}
