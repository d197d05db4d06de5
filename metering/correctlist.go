package metering

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// CorrectionFilter selects corrections by the hour that they are dated in.
type CorrectionFilter struct {
	Tenants     []tenant.ID // whose; empty is an error, never everybody
	Descendants bool        // as in Filter
	From, To    time.Time   // as in Filter
	Limit       int         // per page; 0 is 1000, at most 10000
	Cursor      string      // Next of the page before
}

// Corrections is a page of corrections, ordered by the hour that they are dated in and their ids.
type Corrections struct {
	Corrections   []Correction `json:"corrections"`
	SealedThrough time.Time    `json:"sealed_through"`
	Next          string       `json:"next"`
}

// correctionCursor is the place of a correction in the order.
type correctionCursor struct {
	Hour  int64  `json:"h"`
	ID    string `json:"i"`
	Bound string `json:"q"`
}

// Corrections returns one page of the corrections of the filter's tenants.
func (l *Ledger) Corrections(ctx context.Context, f CorrectionFilter) (Corrections, error) {
	if len(f.Tenants) == 0 {
		return Corrections{}, fmt.Errorf("%w: no tenant", ErrFilter)
	}
	return l.corrections(ctx, f)
}

// UnsafeCorrectionsOfAll returns one page of the corrections of all tenants; f.Tenants is ignored.
//
// SECURITY: only for operators.
func (l *Ledger) UnsafeCorrectionsOfAll(ctx context.Context, f CorrectionFilter) (Corrections, error) {
	f.Tenants = nil
	return l.corrections(ctx, f)
}

func (l *Ledger) corrections(ctx context.Context, f CorrectionFilter) (out Corrections, err error) {
	q, err := newUsageQuery(Filter{Tenants: f.Tenants, Descendants: f.Descendants, From: f.From, To: f.To, Limit: f.Limit}, l.now())
	if err != nil {
		return Corrections{}, err
	}
	after := correctionCursor{Hour: -1}
	bound := bind("corrections", f.Tenants, f.Descendants, f.From.Unix(), f.To.Unix())
	if f.Cursor != "" {
		if err := unpackCursor(f.Cursor, &after); err != nil || after.Bound != bound || !plain(after.ID) {
			return Corrections{}, errCursor
		}
	}
	args := append([]any{q.from, q.to}, q.owners.args...)
	args = append(args, after.Hour, after.ID, q.limit+1)
	err = l.db.View(ctx, func(tx *store.Tx) error {
		open, err := sealedThrough(ctx, tx, l.now())
		if err != nil {
			return err
		}
		out.SealedThrough = time.Unix(open, 0).UTC()
		out.Corrections, err = queryCorrections(ctx, tx, open, `c.hour >= ? AND c.hour < ?`+q.owners.and+`
			AND (c.hour, c.id) > (?, ?) ORDER BY c.hour, c.id LIMIT ?`, args...)
		return err
	})
	if err != nil {
		return Corrections{}, fmt.Errorf("read corrections: %w", err)
	}
	if len(out.Corrections) > q.limit {
		out.Corrections = out.Corrections[:q.limit]
		last := out.Corrections[q.limit-1]
		out.Next = packCursor(correctionCursor{last.Hour.Unix(), last.ID, bound})
	}
	return out, nil
}
