package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// seenInterval is how often a replica says that it is there when nothing else is to be said.
const seenInterval = 10 * time.Second

// ReplicaOptions names this process to the others on its database.
type ReplicaOptions struct {
	// Log is the name of the process's log, the one given to ForLog, and differs from every other process's. "": the process
	// is the only one, or has no log: others do not wait for it, but it waits for those that have one.
	Log     string
	Address string // where people find it, for information
}

// Replica is a process that may hold receipts which are not in the ledger. It stays known when the process is gone, since its
// log may hold receipts of requests that were acknowledged, until it comes back, ends in good order with nothing left, or is
// forgotten.
type Replica struct {
	Log           string    `json:"log"`
	Address       string    `json:"address"`
	StartedAt     time.Time `json:"started_at"`
	SeenAt        time.Time `json:"seen_at"`
	OldestPending time.Time `json:"oldest_pending,omitzero"` // zero: nothing was pending at SeenAt
	// Through is the hour up to which the replica lets usage be sealed.
	Through time.Time `json:"through"`
}

// ErrNoReplica says that no replica has the log.
var ErrNoReplica = errors.New("no replica has this log")

// through returns the hour up to which a replica that said this lets usage be sealed: it has told of every receipt of before
// the grace, as in sealable. What it acknowledged after it was last seen is known to itself alone.
func (r Replica) through() int64 {
	through := hourOf(r.SeenAt.Add(-sealGrace))
	if !r.OldestPending.IsZero() {
		through = min(through, hourOf(r.OldestPending))
	}
	return through
}

// sayPending tells the others, at most once a second, what this process waits for. The clock is read before Pending is
// asked, for the reason that sealable gives.
func (l *Ledger) sayPending(ctx context.Context, last bool) error {
	if l.replica.Log == "" {
		return nil
	}
	r := Replica{Log: l.replica.Log, Address: l.replica.Address, SeenAt: l.now()}
	if l.pendingReceipts != nil {
		if oldest, ok := l.pendingReceipts(); ok {
			r.OldestPending = oldest
		}
	}
	if last && r.OldestPending.IsZero() {
		return l.leave(ctx)
	}
	if same := r.through() == l.said.through() && r.OldestPending.IsZero() == l.said.OldestPending.IsZero(); same &&
		r.SeenAt.Sub(l.said.SeenAt).Abs() < seenInterval {
		return nil
	}
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO replicas (log_id, started_at, seen_at, oldest_pending, address)
			VALUES (?, ?, ?, ?, ?) ON CONFLICT (log_id) DO UPDATE SET started_at = excluded.started_at,
				seen_at = excluded.seen_at, oldest_pending = excluded.oldest_pending, address = excluded.address`,
			r.Log, l.started.UnixMilli(), r.SeenAt.UnixMilli(), nullMilli(r.OldestPending), r.Address)
		return err
	})
	if err != nil {
		return fmt.Errorf("tell what is pending: %w", err)
	}
	l.said = r
	return nil
}

// leave takes this process's row away: it holds nothing, and nothing will come.
func (l *Ledger) leave(ctx context.Context) error {
	err := l.db.Update(ctx, func(tx *store.Tx) error { return l.ForgetReplica(ctx, tx, l.replica.Log) })
	if errors.Is(err, ErrNoReplica) {
		return nil
	}
	return err
}

func nullMilli(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// replicasAgree returns the hour up to which usage may be sealed as far as the replica self, which knows better than its row,
// and all other ones are concerned; and the log of the one that holds the seal back most, "" if none does.
func replicasAgree(ctx context.Context, tx *store.Tx, self string, own int64) (through int64, holder string, err error) {
	through = own
	all, err := queryReplicas(ctx, tx)
	for _, r := range all {
		if r.Log != self && r.through() < through {
			through, holder = r.through(), r.Log
		}
	}
	return through, holder, err
}

func queryReplicas(ctx context.Context, tx *store.Tx) ([]Replica, error) {
	rows, err := tx.QueryContext(ctx, `SELECT log_id, address, started_at, seen_at, oldest_pending FROM replicas ORDER BY log_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []Replica{}
	for rows.Next() {
		var r Replica
		var started, seen int64
		var oldest sql.NullInt64
		if err := rows.Scan(&r.Log, &r.Address, &started, &seen, &oldest); err != nil {
			return nil, err
		}
		r.StartedAt, r.SeenAt = time.UnixMilli(started).UTC(), time.UnixMilli(seen).UTC()
		if oldest.Valid {
			r.OldestPending = time.UnixMilli(oldest.Int64).UTC()
		}
		r.Through = time.Unix(r.through(), 0).UTC()
		out = append(out, r)
	}
	return out, rows.Err()
}

// tellHolder counts and, when it changes, logs which replica keeps usage from being sealed, once that is for more than an
// hour: a shorter wait is how replicas take turns.
func (l *Ledger) tellHolder(holder string, behind int64) {
	if behind <= hourSeconds {
		holder, behind = "", 0
	}
	l.m.sealHeld.Set(float64(behind))
	if holder != l.holder && holder != "" {
		l.log.Warn("a replica holds the seal of the usage: start it again, or forget it if its log is lost",
			"log", holder, "seconds", behind)
	}
	l.holder = holder
}

// Replicas returns all replicas, by their logs.
//
// SECURITY: only for operators.
func (l *Ledger) Replicas(ctx context.Context) (out []Replica, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		out, err = queryReplicas(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read replicas: %w", err)
	}
	return out, nil
}

// ForgetReplica takes a replica away that will not come back, or returns ErrNoReplica, within tx, a transaction of the store's
// Update that is the caller's to commit. If its log comes back all the same, its receipts are billed as corrections. A replica
// that is alive is back within seconds.
//
// SECURITY: only for operators.
func (l *Ledger) ForgetReplica(ctx context.Context, tx *store.Tx, log string) error {
	res, err := tx.ExecContext(ctx, `DELETE FROM replicas WHERE log_id = ?`, log)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrNoReplica)
	}
	return nil
}
