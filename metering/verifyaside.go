package metering

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// cell is a tenant's hour.
type cell struct {
	hour   int64
	tenant string
}

// aside is what was set aside of a cell: acked, billed, and not in ClickHouse.
type aside struct {
	records int64 // by this process, which knows exactly
	others  int64 // by other replicas, which tell a minute later at most, and may have tried it again since
	unknown bool  // nobody knows how many records of it there are
}

// aside returns what was set aside of a signal, by cell: bounded by what an operator leaves lying in the logs' directories.
func (c *comparison) aside(ctx context.Context, s Signal) (map[cell]aside, error) {
	all, err := c.ownAside(ctx)
	if err != nil {
		return nil, err
	}
	out := map[cell]aside{}
	for k, a := range all {
		if k.signal == s {
			out[k.cell] = a
		}
	}
	return out, c.othersAside(ctx, s, out)
}

type signalCell struct {
	cell
	signal Signal
}

// ownAside returns what this process has set aside.
func (v *Verifier) ownAside(ctx context.Context) (map[signalCell]aside, error) {
	out := map[signalCell]aside{}
	err := v.stored.UnsafeAside(ctx, func(signal, tenantID string, received int64, raw []byte, records int64) error {
		if len(raw) > 0 {
			r, _, err := ReadReceipt(raw)
			if err != nil {
				return err
			}
			records = r.Records
		}
		k := signalCell{cell{hourOf(time.Unix(0, received)), tenantID}, Signal(signal)}
		a := out[k]
		a.unknown = a.unknown || records < 0
		a.records += max(0, records)
		out[k] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was set aside: %w", err)
	}
	return out, nil
}

// othersAside adds what other replicas have told.
func (v *Verifier) othersAside(ctx context.Context, s Signal, out map[cell]aside) error {
	err := v.ledger.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT tenant_id, hour, records, unknown FROM usage_aside WHERE log_id <> ? AND signal = ?`,
			v.ledger.replica.Log, string(s))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var k cell
			var n, unknown int64
			if err := rows.Scan(&k.tenant, &k.hour, &n, &unknown); err != nil {
				return err
			}
			a := out[k]
			a.others, a.unknown = a.others+n, a.unknown || unknown != 0
			out[k] = a
		}
		return rows.Err()
	})
	if err != nil {
		return fmt.Errorf("read what other replicas have set aside: %w", err)
	}
	return nil
}

// RunAside tells other replicas what this one has set aside until ctx ends, and leaves the comparing to them. It is for a process in
// which Run does not run.
func (v *Verifier) RunAside(ctx context.Context) error {
	tick := time.NewTicker(verifyInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		v.tellAside(ctx)
	}
}

// tellAside is publishAside, whose failures are tried again.
func (v *Verifier) tellAside(ctx context.Context) {
	if err := v.publishAside(ctx); err != nil && ctx.Err() == nil {
		v.log.Warn("requests that are set aside were not told to other replicas", "err", err)
	}
}

// publishAside tells other replicas what this one has set aside, if that has changed. It stays told when the process is gone:
// so do the requests.
func (v *Verifier) publishAside(ctx context.Context) error {
	if v.ledger.replica.Log == "" {
		return nil // there are no others
	}
	own, err := v.ownAside(ctx)
	if err != nil || v.published != nil && maps.Equal(own, v.published) {
		return err
	}
	err = v.ledger.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM usage_aside WHERE log_id = ?`, v.ledger.replica.Log); err != nil {
			return err
		}
		for k, a := range own {
			unknown := 0
			if a.unknown {
				unknown = 1
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO usage_aside (log_id, tenant_id, hour, signal, records, unknown)
				VALUES (?, ?, ?, ?, ?, ?)`, v.ledger.replica.Log, k.tenant, k.hour, string(k.signal), a.records, unknown)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		v.published = own
	}
	return err
}

// waiting returns the hour from which on a log, this process's or another's, has unfinished requests: of sealed hours, those
// that were set aside and are tried again.
func (l *Ledger) waiting(ctx context.Context) (int64, error) {
	from := int64(math.MaxInt64)
	if l.pendingReceipts != nil {
		if oldest, ok := l.pendingReceipts(); ok {
			from = hourOf(oldest)
		}
	}
	var others sql.NullInt64
	err := l.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT MIN(oldest_pending) FROM replicas WHERE log_id <> ?`, l.replica.Log).Scan(&others)
	})
	if err != nil {
		return 0, fmt.Errorf("look for what replicas wait for: %w", err)
	}
	if others.Valid {
		from = min(from, hourOf(time.UnixMilli(others.Int64)))
	}
	return from, nil
}
