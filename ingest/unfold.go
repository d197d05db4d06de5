package ingest

import "context"

// unfoldBytes is how much of a compressed body has come when its beginning is inflated: beyond it, the buffer grows to four
// times as much.
const unfoldBytes = 4 << 20

// unfold is take with a look at what the beginning of a compressed body inflates to, once, before it grows beyond unfoldBytes. A
// bomb that is large as it comes ends there, and is not held while it waits for its turn. Of an honest body this inflates a
// fortieth or so twice.
func (w *work) unfold(ctx context.Context, q form, take taker) taker {
	looked := false
	return func(have, want int64) error {
		if have >= unfoldBytes && !looked {
			looked = true
			if err := w.lookInside(ctx, q); err != nil {
				return err
			}
		}
		return take(have, want)
	}
}

// lookInside is look at the first bytes that come out of the compressed body that w has so far. It takes a turn, for the
// memory of the codec, and ends it.
func (w *work) lookInside(ctx context.Context, q form) error {
	if err := w.turn(ctx, glanceBytes); err != nil {
		return err
	}
	defer w.endTurn()
	packed := w.body
	w.body = buffer{}
	defer func() {
		w.drop(&w.body)
		w.body = packed
	}()
	_ = q.codec.inflate(&w.body, packed.b, glanceBytes, w.take) // it goes on, or may be bad: what came out counts
	err := w.look(q)
	if err != nil {
		w.inflated = int64(len(w.body.b))
	}
	return err
}
