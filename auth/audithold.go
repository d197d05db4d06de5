package auth

import (
	"context"

	"github.com/headgate-io/headgate/internal/store"
)

type contextKey int

const (
	originKey contextKey = iota
	holdKey
	peekKey
)

// Peek returns a context for reads whose result nobody is shown, such as that of a hold: they are not audited.
func Peek(ctx context.Context) context.Context { return context.WithValue(ctx, peekKey, true) }

func isPeek(ctx context.Context) bool { return ctx.Value(peekKey) != nil }

// WithOrigin returns a context in which changes are audited as coming from address: the peer of the connection, without its port.
func WithOrigin(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, originKey, address)
}

func origin(ctx context.Context) string {
	s, _ := ctx.Value(originKey).(string)
	return s
}

// WithHold returns a context in which the first change asks hold within its transaction, just before its entry is written: with
// an error of hold the change is not kept. hold sees the state before the change by every transaction but tx.
func WithHold(ctx context.Context, hold func(ctx context.Context, tx *store.Tx) error) context.Context {
	holds, _ := ctx.Value(holdKey).([]func(context.Context, *store.Tx) error)
	return context.WithValue(ctx, holdKey, append(holds[:len(holds):len(holds)], hold))
}

// Unheld returns a context in which nothing is asked of WithHold's: for entries that say what is read. They are no change, so that
// one was written must not pass for a request that was carried out.
func Unheld(ctx context.Context) context.Context { return context.WithValue(ctx, holdKey, nil) }

func hold(ctx context.Context, tx *store.Tx) error {
	holds, _ := ctx.Value(holdKey).([]func(context.Context, *store.Tx) error)
	for _, h := range holds {
		if err := h(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}
