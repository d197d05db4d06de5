package metering

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	// commitTimeout bounds one of Run's transactions.
	commitTimeout = 10 * time.Second
	// keepInterval is how often counts of refusals are written and the seal is moved.
	keepInterval = time.Second
)

// LedgerOptions configures NewLedger. Now is required.
type LedgerOptions struct {
	Now func() time.Time
	// Pending returns the receive time of the oldest receipt, or its hour's start, that may still come by Apply: none of
	// the hours from there on is sealed. False means that there is none. It knows a receipt within five minutes of its
	// receive time and until Apply has returned nil for it, so it must know the log's receipts before Run begins. The log's
	// Oldest does this. Nil: nothing is waited for.
	Pending  func() (oldest time.Time, ok bool)
	Replica  ReplicaOptions // needed where several processes share the database
	Logger   *slog.Logger   // nil discards
	Registry prometheus.Registerer
}

// Ledger keeps usage per tenant, key, signal and hour.
type Ledger struct {
	db              *store.DB
	now             func() time.Time
	pendingReceipts func() (time.Time, bool)
	log             *slog.Logger
	m               *ledgerMetrics

	mu       sync.Mutex                 // guards counts and refusals
	counts   map[row]sums               // refusals that are not yet written
	refusals map[refusalRow]refusalSums // the same by reason

	// What Run alone uses: the seal that was last stored or found stored, who holds it, and what was last said to the other
	// replicas.
	sealed int64
	pruned int64 // the hour before which nothing old is kept
	holder string
	said   Replica

	replica ReplicaOptions
	started time.Time
}

// NewLedger makes the ledger of db. It starts nothing; counts of refusals and the seal wait for Run.
func NewLedger(db *store.DB, o LedgerOptions) *Ledger {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ledger{db: db, now: o.Now, pendingReceipts: o.Pending, log: o.Logger, m: newLedgerMetrics(o.Registry),
		counts: map[row]sums{}, refusals: map[refusalRow]refusalSums{}, replica: o.Replica, started: o.Now()}
}

// Run writes what CountRefused is given and moves the seal until ctx ends, then writes what is left, and returns.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	l.keep(false)
	for {
		select {
		case <-tick.C:
			l.keep(false)
		case <-ctx.Done():
			l.keep(true)
			return nil
		}
	}
}

// keep does what is due from time to time. What fails is due again, unless it is the last time: then a replica that holds
// nothing any more says so.
func (l *Ledger) keep(last bool) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := l.writeCounts(ctx); err != nil {
		l.m.commitFailures.Inc()
		l.log.Warn("counts of refusals were not written", "err", err)
	}
	if err := l.prune(ctx); err != nil {
		l.m.commitFailures.Inc()
		l.log.Warn("old rows were not removed", "err", err)
	}
	if err := l.sayPending(ctx, last); err != nil {
		l.m.commitFailures.Inc()
		l.log.Warn("the other replicas were not told what is pending here", "err", err)
	}
	if err := l.seal(ctx); err != nil {
		l.m.commitFailures.Inc()
		l.log.Warn("usage was not sealed", "err", err)
	}
}

// update runs fn in a transaction that is timed. open is the first hour that is not sealed: fn writes to no hour before.
func (l *Ledger) update(ctx context.Context, fn func(tx *store.Tx, open int64) error) error {
	start := l.now()
	err := l.db.Update(ctx, func(tx *store.Tx) error {
		open, err := sealedThrough(ctx, tx, start)
		if err != nil {
			return err
		}
		return fn(tx, open)
	})
	l.m.commitSeconds.Observe(l.now().Sub(start).Seconds())
	return err
}

func add(rows map[row]sums, k row, s sums) {
	have := rows[k]
	have.add(s)
	rows[k] = have
}

// addRows adds rows to what the ledger has.
func addRows(ctx context.Context, tx *store.Tx, rows map[row]sums) error {
	rev, err := nextRev(ctx, tx)
	if err != nil {
		return err
	}
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes,
			overage_bytes, unbilled_bytes, records, requests, rejected_records, refused_bytes, refused_requests, rev)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, hour, signal, key_id) DO UPDATE SET
			billed_bytes = usage_hours.billed_bytes + excluded.billed_bytes,
			overage_bytes = usage_hours.overage_bytes + excluded.overage_bytes,
			unbilled_bytes = usage_hours.unbilled_bytes + excluded.unbilled_bytes,
			records = usage_hours.records + excluded.records,
			requests = usage_hours.requests + excluded.requests,
			rejected_records = usage_hours.rejected_records + excluded.rejected_records,
			refused_bytes = usage_hours.refused_bytes + excluded.refused_bytes,
			refused_requests = usage_hours.refused_requests + excluded.refused_requests,
			rev = excluded.rev`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for k, s := range rows {
		_, err := stmt.ExecContext(ctx, k.tenant, k.hour, k.signal, k.key, s.billed, s.overage, s.unbilled,
			s.records, s.requests, s.rejected, s.refusedBytes, s.refusedRequests, rev)
		if err != nil {
			return err
		}
	}
	return nil
}
