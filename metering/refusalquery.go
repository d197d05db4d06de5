package metering

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// RefusalFilter selects refusals.
type RefusalFilter struct {
	Tenants []tenant.ID // whose; empty is an error, never everybody
	// From is rounded down and To up to a full hour. Zero is no bound.
	From, To time.Time
	Reason   Reason // "" is any
	Key      string // "" is any
	Limit    int    // rows per page; 0 is 100, at most 1000
	Cursor   string // Next of the page before, with the rest of the filter unchanged
}

// RefusalCount is what was refused or discarded of one tenant, signal and key in one hour for one reason.
type RefusalCount struct {
	Hour     time.Time `json:"hour"`
	Tenant   string    `json:"tenant"` // the name
	TenantID string    `json:"tenant_id"`
	Signal   string    `json:"signal"`
	Key      string    `json:"key"`
	Reason   Reason    `json:"reason"`
	Requests int64     `json:"requests"`
	Records  int64     `json:"records"` // of the requests that were decoded; others are not counted by record
	Bytes    int64     `json:"bytes"`   // of the requests that were read
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
	Text     string    `json:"text"` // the answer to the last of them
}

// Refusals is one page, the newest hour first.
type Refusals struct {
	Rows []RefusalCount `json:"decisions"`
	Next string         `json:"next,omitempty"` // goes into RefusalFilter.Cursor; "" at the end
}

// Refusals returns one page of the refusals of the filter's tenants.
func (l *Ledger) Refusals(ctx context.Context, f RefusalFilter) (Refusals, error) {
	if len(f.Tenants) == 0 {
		return Refusals{}, fmt.Errorf("%w: no tenant", ErrFilter)
	}
	return l.readRefusals(ctx, f)
}

// UnsafeRefusalsOfAll returns one page of the refusals of all tenants; f.Tenants is ignored.
//
// SECURITY: only for operators.
func (l *Ledger) UnsafeRefusalsOfAll(ctx context.Context, f RefusalFilter) (Refusals, error) {
	f.Tenants = nil
	return l.readRefusals(ctx, f)
}

// refusalCursor is the place of a row in the order.
type refusalCursor struct {
	Hour   int64  `json:"h"`
	Tenant string `json:"t"`
	Signal string `json:"g"`
	Key    string `json:"k"`
	Reason string `json:"r"`
}

const (
	defaultRefusals = 100
	maxRefusals     = 1000
)

// where returns the filter as SQL.
func (f RefusalFilter) where() (text string, args []any, err error) {
	terms := []string{`1 = 1`}
	add := func(term string, values ...any) { terms, args = append(terms, term), append(args, values...) }
	switch {
	case len(f.Tenants) == 1: // an equality, by which the primary key is in the order of the page
		add(`r.tenant_id = ?`, f.Tenants[0].String())
	case len(f.Tenants) > 1:
		add(`r.tenant_id IN (?` + strings.Repeat(`, ?`, len(f.Tenants)-1) + `)`)
		for _, id := range f.Tenants {
			args = append(args, id.String())
		}
	}
	if !f.From.IsZero() {
		add(`r.hour >= ?`, hourOf(f.From))
	}
	if !f.To.IsZero() {
		add(`r.hour < ?`, hourOf(f.To.Add(time.Hour-time.Nanosecond)))
	}
	if f.Reason != "" {
		if f.Reason != f.Reason.known() {
			return "", nil, fmt.Errorf("%w: reason %.40q is none", ErrFilter, string(f.Reason))
		}
		add(`r.reason = ?`, string(f.Reason))
	}
	if f.Key != "" {
		if len(f.Key) > maxKeyBytes || !plain(f.Key) {
			return "", nil, fmt.Errorf("%w: key %.40q is none", ErrFilter, f.Key)
		}
		add(`r.key_id = ?`, f.Key)
	}
	if f.Cursor != "" {
		var c refusalCursor
		if err := unpackCursor(f.Cursor, &c); err != nil || !plain(c.Tenant+c.Signal+c.Key+c.Reason) {
			return "", nil, errCursor
		}
		add(`r.hour <= ?`, c.Hour) // says the same less exactly, in the terms of an index
		add(`(r.hour, r.tenant_id, r.signal, r.key_id, r.reason) < (?, ?, ?, ?, ?)`, c.Hour, c.Tenant, c.Signal, c.Key, c.Reason)
	}
	return strings.Join(terms, ` AND `), args, nil
}

func (l *Ledger) readRefusals(ctx context.Context, f RefusalFilter) (Refusals, error) {
	where, args, err := f.where()
	if err != nil {
		return Refusals{}, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultRefusals
	}
	limit = min(limit, maxRefusals)
	page := Refusals{Rows: []RefusalCount{}}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		page.Rows, err = queryRefusals(ctx, tx, where, append(args, limit+1))
		return err
	})
	if err != nil {
		return Refusals{}, fmt.Errorf("read refusals: %w", err)
	}
	if len(page.Rows) > limit {
		page.Rows = page.Rows[:limit]
		last := page.Rows[limit-1]
		page.Next = packCursor(refusalCursor{last.Hour.Unix(), last.TenantID, last.Signal, last.Key, string(last.Reason)})
	}
	return page, nil
}

func queryRefusals(ctx context.Context, tx *store.Tx, where string, args []any) ([]RefusalCount, error) {
	rows, err := tx.QueryContext(ctx, `SELECT r.hour, COALESCE(t.name, ''), r.tenant_id, r.signal, r.key_id, r.reason,
			r.requests, r.records, r.bytes, r.first_at, r.last_at, r.last_text
		FROM usage_refusals r LEFT JOIN tenants t ON t.id = r.tenant_id
		WHERE `+where+`
		ORDER BY r.hour DESC, r.tenant_id DESC, r.signal DESC, r.key_id DESC, r.reason DESC LIMIT ?`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []RefusalCount{}
	for rows.Next() {
		var c RefusalCount
		var hour, first, last int64
		err := rows.Scan(&hour, &c.Tenant, &c.TenantID, &c.Signal, &c.Key, &c.Reason, &c.Requests, &c.Records, &c.Bytes,
			&first, &last, &c.Text)
		if err != nil {
			return nil, err
		}
		c.Hour, c.FirstAt, c.LastAt = time.Unix(hour, 0).UTC(), time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
		out = append(out, c)
	}
	return out, rows.Err()
}
