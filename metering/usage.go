package metering

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Interval is the length of the spans that usage is summed over: UTC hours, days or calendar months.
type Interval string

// The intervals.
const (
	ByHour  Interval = "hour"
	ByDay   Interval = "day"
	ByMonth Interval = "month"
)

const (
	defaultRows = 1000
	maxRows     = 10000
)

// ErrFilter says that a Filter makes no sense; the text after it says why and may be shown to the caller.
var ErrFilter = errors.New("usage filter")

// Filter selects usage.
type Filter struct {
	Tenants []tenant.ID // whose; empty is an error, never everybody
	// From is rounded down and To up to a full hour. A zero From is the beginning of the ledger, a zero To its end.
	From, To time.Time
	By       Interval // "" is ByDay
	// BySignal and ByKey keep signals and keys apart; else they are summed and empty in the rows.
	BySignal, ByKey bool
	Limit           int    // rows per page; 0 is 1000, at most 10000
	Cursor          string // Next of the page before, with the rest of the filter unchanged
}

// Row is the usage of one tenant in one span. The span is cut where the filter's ends lie inside it.
type Row struct {
	Start           time.Time `json:"start"`
	End             time.Time `json:"end"`
	Tenant          string    `json:"tenant"` // the name, today's or the last before its deletion
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
}

// Usage is one page of rows, ordered by start, tenant id, signal and key. The same filter gives the same rows for ever
// where their End is at or before SealedThrough.
type Usage struct {
	Rows          []Row     `json:"rows"`
	SealedThrough time.Time `json:"sealed_through"` // the beginning of 1970 while nothing is sealed
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
	q, err := newUsageQuery(f)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Rows: []Row{}}
	err = l.db.View(ctx, func(tx *store.Tx) error {
		open, err := sealedThrough(ctx, tx, l.now())
		if err != nil {
			return err
		}
		u.SealedThrough = time.Unix(open, 0).UTC()
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
		u.Next = cursorOf(u.Rows[q.limit-1]).String()
	}
	return u, nil
}

// cursor is the place of a row in the order.
type cursor struct {
	Start  int64  `json:"s"`
	Tenant string `json:"t"`
	Signal string `json:"g"`
	Key    string `json:"k"`
}

func cursorOf(r Row) cursor { return cursor{r.Start.Unix(), r.TenantID, r.Signal, r.Key} }

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("BUG: cursor: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (c cursor, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Start%hourSeconds != 0 {
		return cursor{}, fmt.Errorf("%w: cursor is not from here", ErrFilter)
	}
	return c, nil
}

// usageQuery walks the spans of a filter one after another; empty ones are skipped by an index.
type usageQuery struct {
	by       Interval
	from, to int64 // unix seconds on full hours
	limit    int
	owners   string // " AND tenant_id IN (…)" or ""
	ids      []any
	columns  string // signal and key, or nothing in place of what is summed
	after    cursor // in the span that from lies in; rows up to it were returned before
}

// The ends of the ledger's time: hours beyond are not in it.
const (
	firstHour int64 = 0
	lastHour  int64 = 253370764800 // year 9999
)

func newUsageQuery(f Filter) (*usageQuery, error) {
	q := &usageQuery{by: f.By, from: firstHour, to: lastHour, limit: f.Limit}
	switch q.by {
	case "":
		q.by = ByDay
	case ByHour, ByDay, ByMonth:
	default:
		return nil, fmt.Errorf("%w: by %q: want hour, day or month", ErrFilter, string(q.by))
	}
	if !f.From.IsZero() {
		q.from = max(q.from, hourOf(f.From))
	}
	if !f.To.IsZero() {
		q.to = min(q.to, hourOf(f.To.Add(time.Hour-time.Nanosecond)))
	}
	if q.limit <= 0 {
		q.limit = defaultRows
	}
	q.limit = min(q.limit, maxRows)
	if len(f.Tenants) > 0 {
		q.owners = ` AND tenant_id IN (?` + strings.Repeat(`, ?`, len(f.Tenants)-1) + `)`
		for _, id := range f.Tenants {
			q.ids = append(q.ids, id.String())
		}
	}
	q.columns = column(f.BySignal, "signal") + `, ` + column(f.ByKey, "key_id")
	if f.Cursor != "" {
		c, err := parseCursor(f.Cursor)
		if err != nil {
			return nil, err
		}
		q.from, q.after = max(q.from, c.Start), c
	}
	return q, nil
}

// column returns the expression for a column that is kept apart or summed over, under its own alias.
func column(apart bool, name string) string {
	if apart {
		return name + ` AS row_` + name
	}
	return `'' AS row_` + name
}

// nextSpan appends the rows of the next span that has any, no more than fill a page by one, and moves from behind the
// span. It returns false at the end.
func (q *usageQuery) nextSpan(ctx context.Context, tx *store.Tx, rows *[]Row) (bool, error) {
	var hour sql.NullInt64
	args := append([]any{q.from, q.to}, q.ids...)
	err := tx.QueryRowContext(ctx, `SELECT MIN(hour) FROM usage_hours WHERE hour >= ? AND hour < ?`+q.owners, args...).Scan(&hour)
	if err != nil || !hour.Valid {
		return false, err
	}
	start, end := span(q.by, hour.Int64)
	start, end = max(start, q.from), min(end, q.to)
	after := cursor{}
	if q.after.Start == start {
		after = q.after
	}
	if err := q.readSpan(ctx, tx, start, end, after, rows); err != nil {
		return false, err
	}
	q.from = end
	return true, nil
}

func (q *usageQuery) readSpan(ctx context.Context, tx *store.Tx, start, end int64, after cursor, out *[]Row) error {
	args := append([]any{start, end}, q.ids...)
	args = append(args, after.Tenant, after.Signal, after.Key, q.limit+1-len(*out))
	rows, err := tx.QueryContext(ctx, `SELECT u.tenant_id, COALESCE(t.name, ''), row_signal, row_key_id, billed, overage,
			unbilled, records, requests, rejected, refused_bytes, refused_requests
		FROM (SELECT tenant_id, `+q.columns+`, CAST(SUM(billed_bytes) AS BIGINT) AS billed, CAST(SUM(overage_bytes) AS BIGINT) AS overage,
				CAST(SUM(unbilled_bytes) AS BIGINT) AS unbilled, CAST(SUM(records) AS BIGINT) AS records, CAST(SUM(requests) AS BIGINT) AS requests,
				CAST(SUM(rejected_records) AS BIGINT) AS rejected, CAST(SUM(refused_bytes) AS BIGINT) AS refused_bytes,
				CAST(SUM(refused_requests) AS BIGINT) AS refused_requests
			FROM usage_hours WHERE hour >= ? AND hour < ?`+q.owners+`
			GROUP BY tenant_id, row_signal, row_key_id) u
		LEFT JOIN tenants t ON t.id = u.tenant_id
		WHERE (u.tenant_id, row_signal, row_key_id) > (?, ?, ?)
		ORDER BY u.tenant_id, row_signal, row_key_id LIMIT ?`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := Row{Start: time.Unix(start, 0).UTC(), End: time.Unix(end, 0).UTC()}
		err := rows.Scan(&r.TenantID, &r.Tenant, &r.Signal, &r.Key, &r.BilledBytes, &r.OverageBytes, &r.UnbilledBytes,
			&r.Records, &r.Requests, &r.RejectedRecords, &r.RefusedBytes, &r.RefusedRequests)
		if err != nil {
			return err
		}
		*out = append(*out, r)
	}
	return rows.Err()
}

// span returns the ends of the span that the hour lies in.
func span(by Interval, hour int64) (start, end int64) {
	t := time.Unix(hour, 0).UTC()
	switch by {
	case ByHour:
		return hour, hour + hourSeconds
	case ByMonth:
		first := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		return first.Unix(), first.AddDate(0, 1, 0).Unix()
	}
	return dayOf(t) * daySeconds, (dayOf(t) + 1) * daySeconds
}
