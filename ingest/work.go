package ingest

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// work is a request with what it holds: its part of the budget, the buffer of its body, and its turn. It is used by one
// goroutine.
type work struct {
	receiver *receiver
	key      string
	hold     *hold
	place    metering.Place
	body     buffer
	text     *otlp.JSONGlance // what was seen of a body in JSON while it came, or nil

	looksLike string    // the signal that the body seems to be of, if not that of its path or service
	lane      *turns    // of the turn that it has, or nil
	inside    time.Time // the gate of its key since, zero if not
	beside    int64     // bytes of its rows that are not in the buffer of its body

	came, inflated int64 // bytes
	translated     int64 // bytes of JSON, in vain
	unknown        int   // members of a body in JSON that are not known

	quota  quotaFields // of a success
	notice string      // likewise
}

// Bodies up to smallBody do not wait for larger ones: they have turns of their own.
const smallBody = 4 << 20

// turnPatience is how long a request waits for its turn. Exporters give up after 5 to 10 seconds; a refusal tells them to
// come again before that.
const turnPatience = 3 * time.Second

// enter counts a request of a tenant and a key in, and waits for its place at the gate of its key.
func (r *receiver) enter(ctx context.Context, t tenant.ID, key string) (*work, *failure) {
	h := r.budget.hold(t)
	if h == nil {
		return nil, retryable(overloaded, "too many requests of this tenant are at hand; send it again")
	}
	if r.budget.waste.spent(key) {
		defer h.release()
		wait := time.NewTimer(wasteDelay/2 + rand.N(wasteDelay)) // not all of a crowd in the same moment
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		return nil, wasted()
	}
	if err := r.gates.pass(ctx, key); err != nil {
		h.release()
		return nil, r.readFailure(err)
	}
	return &work{receiver: r, key: key, hold: h, inside: time.Now()}, nil
}

func wasted() *failure {
	return retryable(overloaded, "too many requests of this key had to be refused, come again later")
}

// fly counts the request in among those of its key and tenants that are in flight.
func (w *work) fly(c call) *failure {
	now := w.receiver.opt.Now()
	var err error
	if w.place, err = w.receiver.Meter.Enter(charge(c), now); err != nil {
		return w.receiver.refused(c, err, 0, now)
	}
	return nil
}

// blame charges the key for a request that is refused with f, if it is its fault. The body is of length bytes, read by now or
// still to be passed over; negative is not known. It returns f.
func (w *work) blame(f *failure, length int64) *failure {
	switch f.kind {
	case undecodable, tooLarge, tooManyRecords, overloaded:
		w.came = max(w.came, length)
		w.inVain()
	}
	return f
}

// inVain charges the key for what was done for the request.
func (w *work) inVain() {
	w.receiver.budget.waste.add(w.key, costOfRequest+time.Duration(w.came)*costOfByte+time.Duration(w.inflated)*costOfInflated+
		time.Duration(w.translated)*costOfTranslated)
}

// leave gives back everything that is held. It may be called more than once.
func (w *work) leave() {
	w.endTurn()
	w.getOut()
	w.body.free()
	w.place.Leave()
	w.hold.release()
}

// getOut gives the place at the gate of its key to another request.
func (w *work) getOut() {
	if !w.inside.IsZero() {
		w.receiver.gates.leave(w.key, time.Since(w.inside))
		w.inside = time.Time{}
	}
}

// turn waits until it is the request's turn to handle a body of so many bytes, unless it has such a turn.
func (w *work) turn(ctx context.Context, size int64) error {
	lane := w.receiver.small
	switch {
	case size > smallBody:
		lane = w.receiver.large
	case w.receiver.budget.waste.suspect(w.key):
		lane = w.receiver.slow
	}
	if w.lane == lane || w.lane == w.receiver.large || w.lane == w.receiver.slow && lane == w.receiver.small {
		return nil
	}
	w.endTurn()
	start := time.Now()
	err := lane.take(ctx, w.hold.tenant, turnPatience)
	w.receiver.metrics.waited.Observe(time.Since(start).Seconds())
	if err != nil {
		return err
	}
	w.lane = lane
	// SECURITY: not before the turn: of a crowd that came in one moment, all would pass before the first of them is charged.
	if w.receiver.budget.waste.spent(w.key) {
		w.endTurn()
		return errWasted
	}
	return nil
}

func (w *work) endTurn() {
	if w.lane != nil {
		w.lane.give(w.hold.tenant)
		w.lane = nil
	}
}

// take takes the memory of a buffer that grows.
func (w *work) take(have, want int64) error {
	if !w.hold.resize(w.hold.bytes + want - have) {
		return errOverBudget
	}
	return nil
}

// encode encodes rows of a placement into the memory of the body they were decoded from: compressed, they are shorter, and
// the body is of no use any more. Its buffer must stay until they are stored.
func (w *work) encode(placement string, decoded []otlp.Rows) []storage.Rows {
	rows := make([]storage.Rows, len(decoded))
	dst := w.body.b[:0]
	for i := range decoded {
		d, room := &decoded[i], cap(dst)
		rows[i] = storage.Rows{Table: d.Table, Partition: placement, Days: d.Days}
		if rows[i].Block, dst = d.Append(dst); cap(dst) != room { // it did not fit, and lies elsewhere
			w.beside += int64(cap(dst))
		}
	}
	return rows
}

// rest ends the request's turn, lets the next of its key in, and holds its rows from then on.
func (w *work) rest() error {
	w.endTurn()
	w.getOut()
	if !w.hold.resize(int64(cap(w.body.b)) + w.beside) {
		return errOverBudget
	}
	return nil
}

// drop frees b and gives its memory back to the budget.
func (w *work) drop(b *buffer) {
	n := int64(cap(b.b))
	b.free()
	w.hold.resize(w.hold.bytes - n)
}
