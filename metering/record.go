package metering

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	defaultQueue = 4096
	maxBatch     = 1024
)

// What Record answers when a receipt is not in the ledger. Either way the request may be sent again.
var (
	ErrLedgerClosed = errors.New("usage ledger is closed")
	ErrSealed       = errors.New("usage ledger: the hour of the receipt is sealed")
)

// recorder makes receipts durable before the ack, for requests that are in no log. Receipts that arrive while a
// transaction is being synced share the next one, so the number of syncs does not grow with the number of requests.
type recorder struct {
	queue chan *pending
	done  chan struct{} // closed when Run has ended and every taken receipt has its answer
}

func newRecorder(queue int) recorder {
	if queue <= 0 {
		queue = defaultQueue
	}
	return recorder{make(chan *pending, queue), make(chan struct{})}
}

func (r recorder) waiting() float64 { return float64(len(r.queue)) }

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

// Record returns nil once the receipt is durable: its transaction was synced. With an error the receipt is not in the
// ledger. The end of ctx ends the waiting only while the receipt is not yet part of a transaction; a transaction takes ten
// seconds at most. A full queue makes Record wait.
func (l *Ledger) Record(ctx context.Context, r Receipt) error {
	if err := r.check(); err != nil {
		return err
	}
	p := &pending{receipt: r, result: make(chan error, 1)}
	select {
	case l.recorder.queue <- p:
	case <-ctx.Done():
		return fmt.Errorf("record usage: %w", ctx.Err())
	case <-l.recorder.done:
		return ErrLedgerClosed
	}
	return l.await(ctx, p)
}

// await waits for the answer to a receipt in the queue.
func (l *Ledger) await(ctx context.Context, p *pending) error {
	select {
	case err := <-p.result:
		return err
	case <-l.recorder.done:
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

// record writes first and what is queued behind it by one transaction and answers each.
func (l *Ledger) record(first *pending) {
	batch := l.recorder.take(first)
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout) // no request's: the receipts belong to many
	defer cancel()
	var open int64
	err := l.update(ctx, func(tx *sql.Tx, first int64) error {
		open = first
		rows := map[row]sums{}
		for _, p := range batch {
			if k, s := p.receipt.row(); k.hour >= open {
				add(rows, k, s)
			}
		}
		return addRows(ctx, tx, rows)
	})
	if err != nil {
		err = fmt.Errorf("record usage: %w", err)
		l.m.commitFailures.Inc()
		l.log.Warn("usage was not recorded, the requests are refused", "receipts", len(batch), "err", err)
	}
	// The answer is sent only after the commit was synced: nil here is what the ack of the request rests on.
	for _, p := range batch {
		switch k, _ := p.receipt.row(); {
		case err != nil:
			p.result <- err
		case k.hour < open:
			p.result <- fmt.Errorf("%w: received %s", ErrSealed, p.receipt.ReceivedAt.UTC().Format(time.RFC3339))
		default:
			l.m.receipts.Inc()
			p.result <- nil
		}
	}
}

// take collects what is queued behind first, less what was abandoned.
func (r recorder) take(first *pending) []*pending {
	var batch []*pending
	for p := first; ; {
		if p.state.CompareAndSwap(queued, taken) {
			batch = append(batch, p)
		}
		if len(batch) == maxBatch {
			return batch
		}
		select {
		case p = <-r.queue:
		default:
			return batch
		}
	}
}
