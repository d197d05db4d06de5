package ingest

import (
	"context"
	"io"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// translate replaces the body, OTLP/JSON, by its protobuf.
//
// SECURITY: what is compressed is inflated as the translation comes to it, and let go behind it: no bomb unfolds beyond the
// first thing that is wrong with it, however well that is hidden, and of a good text a window is in memory.
func (r *receiver) translate(ctx context.Context, q form, w *work) *failure {
	if err := w.turn(ctx, int64(len(w.body.b))); err != nil {
		return r.readFailure(err)
	}
	received := w.body
	w.body = buffer{}
	defer w.drop(&received)
	text := window{work: w, turn: func(size int64) error { return w.turn(ctx, size) }}
	defer w.drop(&text.buffer)

	source := otlp.JSONSource{Text: received.b, Grow: w.grow}
	var err error
	if q.codec != nil {
		source.Text, source.More, err = text.open(q.codec, received.b)
	} else {
		err = w.body.reserve(int64(len(received.b)/2), w.take) // protobuf is half as long
	}
	text.note(source.Text)
	var converted []byte
	if err == nil {
		converted, w.unknown, err = (otlp.Limits{}).AppendJSON(w.body.b, q.signal, source)
	}
	text.close()
	if err != nil {
		w.translated = w.inflated
	}
	switch {
	case err != nil:
		return r.bodyFailure(q, err)
	case int64(len(converted)) > r.opt.MaxBodyBytes:
		return r.bodyTooLarge()
	case len(converted) == 0:
		w.looksLike = jsonLooksLike(q.signal, text.head)
	}
	w.body.b = converted
	return nil
}

// grow makes room for n bytes more behind dst, which is the body.
func (w *work) grow(dst []byte, n int) ([]byte, error) {
	if int64(len(dst)) > w.receiver.opt.MaxBodyBytes {
		return nil, errTooLarge
	}
	w.body.b = dst
	err := w.body.reserve(int64(len(dst)+n), w.take)
	return w.body.b, err
}

// A window is the part of a compressed text that is being read.
type window struct {
	buffer
	work *work
	turn func(size int64) error // waits for the turn of a body of so many bytes
	from *inflation             // nil: the text is one block, and all in the buffer
	head []byte                 // the text's beginning
}

// windowBytes is how much of a text is in memory: more only of one with a longer string.
const windowBytes = 64 << 10

// open begins to decompress. It returns the beginning of the text and what reads on in it, nil if that is all of it.
func (t *window) open(c *codec, packed []byte) (text []byte, more func([]byte) ([]byte, error), err error) {
	w := t.work
	if c.block != nil {
		is, err := c.block(&t.buffer, packed, w.receiver.opt.MaxBodyBytes, func(have, want int64) error {
			if err := w.take(have, want); err != nil {
				return err
			}
			return t.turn(want)
		})
		if is || err != nil {
			w.inflated = int64(len(t.b))
			return t.b, nil, err
		}
	}
	if err := t.reserve(windowBytes, w.take); err != nil {
		return nil, nil, err
	}
	t.from, err = c.open(packed)
	return nil, t.more, err
}

// more moves what is kept, the end of the window, to its beginning and reads on behind it.
func (t *window) more(kept []byte) ([]byte, error) {
	w := t.work
	if len(kept) < len(t.b) {
		t.b = t.b[:copy(t.b, kept)]
	}
	if err := t.reserve(int64(len(t.b)+1), w.take); err != nil {
		return nil, err
	}
	for range maxIdle {
		n, err := t.from.Read(t.b[len(t.b):min(cap(t.b), len(t.b)+readAtOnce)])
		if w.inflated += int64(n); w.inflated > w.receiver.opt.MaxBodyBytes {
			return nil, errTooLarge
		}
		if err == nil && w.inflated > smallBody { // it waits once more, and no longer with the small
			err = t.turn(w.inflated)
		}
		t.b = t.b[:len(t.b)+n]
		t.note(t.b[len(t.b)-n:])
		if n > 0 || err != nil {
			return t.b, err
		}
	}
	return nil, io.ErrNoProgress
}

// note keeps the beginning of the text, of which b comes next.
func (t *window) note(b []byte) {
	t.head = append(t.head, b[:min(len(b), jsonHead-len(t.head))]...)
}

func (t *window) close() {
	if t.from != nil {
		t.from.close()
	}
}
