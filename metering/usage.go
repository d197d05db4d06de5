package metering

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Interval is the length of the spans that usage is summed over: hours, days or calendar months.
type Interval string

// The intervals.
const (
	ByHour  Interval = "hour"
	ByDay   Interval = "day"
	ByMonth Interval = "month"
)

// State says whether a row may still change: open ones may, sealed ones never do.
type State string

// The states.
const (
	Open   State = "open"
	Sealed State = "sealed"
)

// stateOf returns the state of what ends at end when everything before the hour open is sealed.
func stateOf(end, open int64) State {
	if end <= open {
		return Sealed
	}
	return Open
}

const (
	defaultRows = 1000
	maxRows     = 10000
)

// ErrFilter says that a Filter makes no sense; the text after it says why and may be shown to the caller.
var ErrFilter = errors.New("usage filter")

// Filter selects usage.
type Filter struct {
	Tenants []tenant.ID // whose; empty is an error, never everybody
	// Descendants adds all tenants below those, deleted ones too.
	Descendants bool
	// From is rounded down and To up to a full hour. A zero From is the beginning of the ledger, a zero To its end.
	From, To time.Time
	By       Interval // "" is ByDay
	// Zone is where days and months begin and end; nil is UTC. One whose days do not begin with a full UTC hour is an error.
	Zone *time.Location
	// BySignal and ByKey keep signals and keys apart; else they are summed and empty in the rows.
	BySignal, ByKey bool
	// AsOf asks for the sealed ledger as it stood at a moment, which is not in the future: the same bytes for ever. Zero asks
	// for the ledger as it is now, with the hours that are still open.
	AsOf   time.Time
	Limit  int    // rows per page; 0 is 1000, at most 10000
	Cursor string // Next of the page before, with the rest of the filter unchanged, apart from Limit
}

// Row is the usage of one tenant in one span. The span is cut where the filter's ends lie inside it. Amounts are the sums
// of the hours of the span and of the corrections that are dated in it, so they may be below zero.
type Row struct {
	Start           time.Time `json:"start"`
	End             time.Time `json:"end"`
	Tenant          string    `json:"tenant"` // the name, today's or the last before its deletion; with AsOf that of then
	TenantID        string    `json:"tenant_id"`
	Signal          string    `json:"signal"`
	Key             string    `json:"key"`
	BilledBytes     int64     `json:"billed_bytes"`
	OverageBytes    int64     `json:"overage_bytes"`  // part of billed_bytes: beyond a limit
	UnbilledBytes   int64     `json:"unbilled_bytes"` // heartbeats; not part of billed_bytes
	Records         int64     `json:"records"`        // accepted
	Requests        int64     `json:"requests"`       // accepted
	RejectedRecords int64     `json:"rejected_records"`
	RefusedBytes    int64     `json:"refused_bytes"`
	RefusedRequests int64     `json:"refused_requests"`
	CorrectionBytes int64     `json:"correction_bytes"` // part of billed_bytes: corrections of this or of earlier spans
	State           State     `json:"state"`
}

// Usage is one page of rows, ordered by start, tenant id, signal and key. The same filter gives the same rows for ever
// where they are sealed.
type Usage struct {
	Rows          []Row     `json:"rows"`
	SealedThrough time.Time `json:"sealed_through"` // the beginning of 1970 while nothing is sealed
	AsOf          time.Time `json:"as_of,omitzero"` // the filter's, in milliseconds
	Next          string    `json:"next"`           // goes into Filter.Cursor; "" at the end
}

// Usage returns one page of the usage of the filter's tenants.
func (l *Ledger) Usage(ctx context.Context, f Filter) (Usage, error) {
	if len(f.Tenants) == 0 {
		return Usage{}, fmt.Errorf("%w: no tenant", ErrFilter)
	}
	return l.usage(ctx, f)
}

// UnsafeUsageOfAll returns one page of the usage of all tenants; f.Tenants is ignored.
//
// SECURITY: only for operators.
func (l *Ledger) UnsafeUsageOfAll(ctx context.Context, f Filter) (Usage, error) {
	f.Tenants = nil
	return l.usage(ctx, f)
}

func (l *Ledger) usage(ctx context.Context, f Filter) (Usage, error) {
	if !f.AsOf.IsZero() {
		f.AsOf = f.AsOf.UTC().Truncate(time.Millisecond)
		if err := l.pin(ctx, f.AsOf); err != nil {
			return Usage{}, err
		}
	}
	q, err := newUsageQuery(f, l.now())
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Rows: []Row{}, AsOf: f.AsOf}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		if err := q.seal(ctx, tx, f.AsOf, l.now()); err != nil {
			return err
		}
		u.SealedThrough = time.Unix(q.open, 0).UTC()
		for len(u.Rows) <= q.limit {
			more, err := q.nextSpan(ctx, tx, &u.Rows)
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Usage{}, fmt.Errorf("read usage: %w", err)
	}
	if len(u.Rows) > q.limit {
		u.Rows = u.Rows[:q.limit]
		u.Next = cursorOf(u.Rows[q.limit-1], q.bound).String()
	}
	return u, nil
}
