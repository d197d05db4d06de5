package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
)

const (
	defaultQueue = 4096
	maxBatch     = 1024
	// commitTimeout bounds one transaction.
	commitTimeout = 10 * time.Second
	// countInterval is how often counts of refusals are written when no receipt takes them along.
	countInterval = time.Second
	// maxCounts bounds the rows of refusals that wait while the database is away.
	maxCounts = 1 << 16
	// sealGrace is how long after its end an hour still takes receipts: longer than any request lives.
	sealGrace = 5 * time.Minute
)

// What Record answers when a receipt is not in the ledger. Either way the request may be sent again.
var (
	ErrLedgerClosed = errors.New("usage ledger is closed")
	ErrSealed       = errors.New("usage ledger: the hour of the receipt is sealed")
)

// LedgerOptions configures NewLedger. Now is required.
type LedgerOptions struct {
	Now      func() time.Time
	Queue    int          // receipts that may wait for the writer; 0 is 4096
	Logger   *slog.Logger // nil discards
	Registry prometheus.Registerer
}

// Ledger keeps usage per tenant, key, signal and hour. Receipts that arrive while a transaction is being synced share the
// next one, so the number of syncs does not grow with the number of requests.
type Ledger struct {
	db    *store.DB
	now   func() time.Time
	log   *slog.Logger
	m     *ledgerMetrics
	queue chan *pending
	done  chan struct{} // closed when Run has ended and every taken receipt has its answer

	mu     sync.Mutex   // guards counts
	counts map[row]sums // refusals that are not yet written
}

// pending is a receipt on its way. Its state is queued until either the writer takes it or the waiter leaves.
type pending struct {
	receipt Receipt
	state   atomic.Int32
	result  chan error // one answer, buffered
}

const (
	queued int32 = iota
	taken
	abandoned
)

// NewLedger makes the ledger of db. It starts nothing; Record waits for Run.
func NewLedger(db *store.DB, o LedgerOptions) *Ledger {
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{db: db, now: o.Now, log: o.Logger, queue: make(chan *pending, o.Queue),
		done: make(chan struct{}), counts: map[row]sums{}}
	l.m = newLedgerMetrics(o.Registry, func() float64 { return float64(len(l.queue)) })
	return l
}

// Record returns nil once the receipt is durable: its transaction was synced. With an error the receipt is not in the
// ledger. The end of ctx ends the waiting only while the receipt is not yet part of a transaction; a transaction takes ten
// seconds at most. A full queue makes Record wait.
func (l *Ledger) Record(ctx context.Context, r Receipt) error {
	if err := r.check(); err != nil {
		return err
	}
	p := &pending{receipt: r, result: make(chan error, 1)}
	select {
	case l.queue <- p:
	case <-ctx.Done():
		return fmt.Errorf("record usage: %w", ctx.Err())
	case <-l.done:
		return ErrLedgerClosed
	}
	return l.await(ctx, p)
}

// await waits for the answer to a receipt in the queue.
func (l *Ledger) await(ctx context.Context, p *pending) error {
	select {
	case err := <-p.result:
		return err
	case <-l.done:
	case <-ctx.Done():
		if p.state.CompareAndSwap(queued, abandoned) {
			return fmt.Errorf("record usage: %w", ctx.Err())
		}
		return <-p.result // taken: the writer always answers
	}
	select {
	case err := <-p.result: // answered before the end
		return err
	default:
		return ErrLedgerClosed
	}
}

// CountRefused adds a request that was not accepted. It never waits.
func (l *Ledger) CountRefused(r Refusal) {
	if r.Tenant.IsZero() || !r.Signal.valid() || r.Bytes < 0 || r.Records < 0 {
		l.m.droppedCounts.Inc()
		return
	}
	k, s := r.row()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addCountLocked(k, s)
}

func (l *Ledger) addCountLocked(k row, s sums) {
	have, ok := l.counts[k]
	if !ok && len(l.counts) >= maxCounts {
		l.m.droppedCounts.Add(float64(s.refusedRequests))
		return
	}
	have.add(s)
	l.counts[k] = have
}

// Run writes receipts until ctx ends, then what is queued, and returns.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.done)
	tick := time.NewTicker(countInterval)
	defer tick.Stop()
	for {
		select {
		case p := <-l.queue:
			l.write(l.take(p))
		case <-tick.C:
			l.write(nil)
		case <-ctx.Done():
			for len(l.queue) > 0 {
				l.write(l.take(<-l.queue))
			}
			l.write(nil)
			return nil
		}
	}
}

// take collects what is queued behind first, less what was abandoned.
func (l *Ledger) take(first *pending) []*pending {
	var batch []*pending
	for p := first; ; {
		if p.state.CompareAndSwap(queued, taken) {
			batch = append(batch, p)
		}
		if len(batch) == maxBatch {
			return batch
		}
		select {
		case p = <-l.queue:
		default:
			return batch
		}
	}
}

// write puts the batch and the waiting counts into the ledger by one transaction and answers every receipt of the batch.
func (l *Ledger) write(batch []*pending) {
	now := l.now()
	open := openHour(now)
	rows := map[row]sums{}
	live := batch[:0]
	for _, p := range batch {
		k, s := p.receipt.row()
		if k.hour < open {
			p.result <- fmt.Errorf("%w: received %s", ErrSealed, p.receipt.ReceivedAt.UTC().Format(time.RFC3339))
			continue
		}
		add(rows, k, s)
		live = append(live, p)
	}
	counts := l.takeCounts()
	for k, s := range counts {
		k.hour = max(k.hour, open) // a sealed hour takes nothing more; these are not billed
		add(rows, k, s)
	}
	if len(rows) == 0 {
		return
	}
	start := l.now()
	err := l.commit(rows)
	l.m.commitSeconds.Observe(l.now().Sub(start).Seconds())
	if err != nil {
		l.m.commitFailures.Inc()
		l.log.Warn("usage was not recorded, the requests are refused", "receipts", len(live), "err", err)
		l.returnCounts(counts)
	} else {
		l.m.receipts.Add(float64(len(live)))
	}
	// The answer is sent only after the commit was synced: nil here is what the ack of the request rests on.
	for _, p := range live {
		p.result <- err
	}
}

func add(rows map[row]sums, k row, s sums) {
	have := rows[k]
	have.add(s)
	rows[k] = have
}

func (l *Ledger) takeCounts() map[row]sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.counts) == 0 {
		return nil
	}
	c := l.counts
	l.counts = map[row]sums{}
	return c
}

func (l *Ledger) returnCounts(c map[row]sums) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, s := range c {
		l.addCountLocked(k, s)
	}
}

// commit adds rows to the ledger, all or none. It has no request's ctx: the receipts belong to many.
func (l *Ledger) commit(rows map[row]sums) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := l.db.Update(ctx, func(tx *sql.Tx) error { return addRows(ctx, tx, rows) })
	if err != nil {
		return fmt.Errorf("record usage: %w", err)
	}
	return nil
}

// addRows adds rows to what the ledger has.
func addRows(ctx context.Context, tx *sql.Tx, rows map[row]sums) error {
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes,
			overage_bytes, unbilled_bytes, records, requests, rejected_records, refused_bytes, refused_requests)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, hour, signal, key_id) DO UPDATE SET
			billed_bytes = usage_hours.billed_bytes + excluded.billed_bytes,
			overage_bytes = usage_hours.overage_bytes + excluded.overage_bytes,
			unbilled_bytes = usage_hours.unbilled_bytes + excluded.unbilled_bytes,
			records = usage_hours.records + excluded.records,
			requests = usage_hours.requests + excluded.requests,
			rejected_records = usage_hours.rejected_records + excluded.rejected_records,
			refused_bytes = usage_hours.refused_bytes + excluded.refused_bytes,
			refused_requests = usage_hours.refused_requests + excluded.refused_requests`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for k, s := range rows {
		_, err := stmt.ExecContext(ctx, k.tenant, k.hour, k.signal, k.key, s.billed, s.overage, s.unbilled,
			s.records, s.requests, s.rejected, s.refusedBytes, s.refusedRequests)
		if err != nil {
			return err
		}
	}
	return nil
}

// SealedThrough returns the moment up to which usage is final at now: the start of the newest hour that began at least five
// minutes ago. Rows of hours that end at or before it never change any more.
func SealedThrough(now time.Time) time.Time {
	return time.Unix(hourOf(now.Add(-sealGrace)), 0).UTC()
}

// openHour returns the earliest hour that a transaction begun at now may still write to. It closes before SealedThrough
// passes it by as long as a transaction can last, so that no commit lands in an hour that a reader has seen sealed.
func openHour(now time.Time) int64 {
	return SealedThrough(now.Add(commitTimeout)).Unix()
}
