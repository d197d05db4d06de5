package ingest

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// A form is how a body is written.
type form struct {
	signal   otlp.Signal
	encoding encoding
	codec    *codec // nil: not compressed
}

// receive reads a request's body as it comes, up to the limit and at the client's pace. Its memory is taken from the budget
// while it arrives, whatever length it announces.
func (r *receiver) receive(ctx context.Context, wire io.Reader, q form, w *work) *failure {
	if wire == nil {
		return nil
	}
	take := w.take
	if q.codec == nil {
		take = w.glance(q, take)
	} else {
		take = w.unfold(ctx, q, take)
	}
	err := w.body.readAll(wire, r.opt.MaxBodyBytes, take)
	w.came = int64(len(w.body.b))
	if err != nil {
		return r.bodyFailure(q, err)
	}
	return nil
}

// glance is take with a look at the body that w has so far, before it grows beyond glanceBytes. An object bomb ends
// there.
func (w *work) glance(q form, take taker) taker {
	return func(have, want int64) error {
		if have >= glanceBytes {
			if err := w.look(q); err != nil {
				return err
			}
		}
		return take(have, want)
	}
}

// look reports why the body that w has so far is sure to be refused, if it is.
func (w *work) look(q form) error {
	if q.encoding == protobuf {
		return (otlp.Limits{}).Glance(q.signal, w.body.b)
	}
	if w.text == nil {
		w.text = (otlp.Limits{}).GlanceJSON(q.signal)
	}
	return w.text.Look(w.body.b)
}

// glanceBytes is how much of a body has come when it is looked at for the first time. One of half the size can be a bomb.
const glanceBytes = 1 << 20

// unpack makes protobuf of a body that was received whole: it waits for a turn where that takes work, decompresses and
// translates. The turn is kept, for what follows.
//
// SECURITY: a body that is inflated while it arrives would hold its memory, of its decoder too, for as long as its sender
// likes. The limit holds for what it inflates to, which is counted while it is produced.
func (r *receiver) unpack(ctx context.Context, q form, w *work) *failure {
	if q.encoding == jsonEncoding {
		return r.translate(ctx, q, w)
	}
	if q.codec != nil {
		if err := w.inflate(ctx, q); err != nil {
			return r.bodyFailure(q, err)
		}
	}
	if len(w.body.b) >= glanceBytes/2 {
		if err := w.look(q); err != nil {
			return decodeFailure(q.signal, err)
		}
	}
	w.looksLike = protobufLooksLike(q.signal, w.body.b)
	return nil
}

// inflate replaces the body by what it decompresses to.
func (w *work) inflate(ctx context.Context, q form) error {
	if err := w.turn(ctx, int64(len(w.body.b))); err != nil {
		return err
	}
	packed := w.body
	w.body = buffer{}
	defer func() {
		w.inflated = int64(len(w.body.b))
		w.drop(&packed)
	}()
	take := func(have, want int64) error {
		if err := w.take(have, want); err != nil {
			return err
		}
		return w.turn(ctx, want) // what turns out to be large waits once more, and no longer with the small
	}
	return q.codec.inflate(&w.body, packed.b, w.receiver.opt.MaxBodyBytes, w.glance(q, take))
}

// bodyFailure is readFailure for a body whose beginning was looked at.
func (r *receiver) bodyFailure(q form, err error) *failure {
	if errors.Is(err, otlp.ErrTooManyRecords) || errors.Is(err, otlp.ErrMalformed) || errors.Is(err, otlp.ErrBadJSON) {
		return decodeFailure(q.signal, err)
	}
	return r.readFailure(err)
}

// readFailure is the answer to a body that could not be read.
func (r *receiver) readFailure(err error) *failure {
	switch {
	case errors.Is(err, errTooLarge):
		return r.bodyTooLarge()
	case errors.Is(err, errWasted):
		return wasted()
	case errors.Is(err, errOverBudget), errors.Is(err, errNoTurn):
		return retryable(overloaded, "headgate has more requests at hand than it takes at once; send it again")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(tooSlow, "the body came too slowly; send smaller batches")
	case errors.Is(err, errClientGone):
		return fail(clientGone, "the request ended before its message")
	}
	return fail(undecodable, "the body ends early, or is not what content-encoding says")
}

func (r *receiver) bodyTooLarge() *failure {
	return fail(tooLarge, "the request is larger than %d bytes, on the wire or uncompressed; send smaller batches", r.opt.MaxBodyBytes)
}

var (
	errTooLarge   = errors.New("more bytes than allowed")
	errClientGone = errors.New("cancelled, or its deadline passed")
	errOverBudget = errors.New("more bytes at once than the budget has")
	errWasted     = errors.New("too much work was done in vain")
)
