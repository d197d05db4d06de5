package metering

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// usageQuery walks the spans of a filter one after another; empty ones are skipped by an index.
type usageQuery struct {
	by       Interval
	zone     *time.Location
	from, to int64 // unix seconds on full hours
	open     int64 // the first hour that is not sealed; known after seal
	limit    int
	owners   owners
	named    named
	columns  string // signal and key, or nothing in place of what is summed
	after    cursor // in the span that from lies in; rows up to it were returned before
	bound    string
}

// The ends of the ledger's time: hours beyond are not in it.
const (
	firstHour int64 = 0
	lastHour  int64 = 253370764800 // year 9999
)

func newUsageQuery(f Filter, now time.Time) (*usageQuery, error) {
	q := &usageQuery{by: f.By, zone: f.Zone, from: firstHour, to: lastHour, limit: f.Limit,
		owners: ownersOf(f.Tenants, f.Descendants), named: namedAsOf(f.AsOf), bound: f.bound()}
	switch q.by {
	case "":
		q.by = ByDay
	case ByHour, ByDay, ByMonth:
	default:
		return nil, fmt.Errorf("%w: by %q: want hour, day or month", ErrFilter, string(q.by))
	}
	if q.zone == nil {
		q.zone = time.UTC
	}
	if err := checkZone(q.zone, f.From, f.To, now); err != nil {
		return nil, err
	}
	if !f.From.IsZero() {
		q.from = max(q.from, hourOf(f.From))
	}
	if !f.To.IsZero() {
		q.to = min(q.to, hourOf(f.To.Add(time.Hour-time.Nanosecond)))
	}
	if !f.From.IsZero() && !f.To.IsZero() && f.To.Before(f.From) {
		return nil, fmt.Errorf("%w: the period ends before it begins", ErrFilter)
	}
	if q.limit <= 0 {
		q.limit = defaultRows
	}
	q.limit = min(q.limit, maxRows)
	q.columns = column(f.BySignal, "signal") + `, ` + column(f.ByKey, "key_id")
	if f.Cursor != "" {
		c, err := parseCursor(f.Cursor, q.bound)
		if err != nil {
			return nil, err
		}
		q.from, q.after = max(q.from, c.Start), c
	}
	return q, nil
}

// owners is a condition on tenant_id, and its arguments.
type owners struct {
	and  string // " AND tenant_id IN (…)", or "" for all
	args []any
}

func ownersOf(tenants []tenant.ID, descendants bool) owners {
	if len(tenants) == 0 {
		return owners{}
	}
	var o owners
	for _, id := range tenants {
		o.args = append(o.args, id.String())
	}
	list := `(?` + strings.Repeat(`, ?`, len(tenants)-1) + `)`
	if descendants {
		// A tree that a damaged table has made a circle ends all the same: UNION leaves out what it has.
		list = `(WITH RECURSIVE tree (id) AS (SELECT id FROM tenants WHERE id IN ` + list + `
			UNION SELECT t.id FROM tenants t JOIN tree ON t.parent_id = tree.id) SELECT id FROM tree)`
	}
	o.and = ` AND tenant_id IN ` + list
	return o
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
	hour, err := nextHour(ctx, tx, q.from, q.to, q.owners)
	if err != nil || !hour.Valid {
		return false, err
	}
	start, end, err := span(q.by, q.zone, hour.Int64)
	if err != nil {
		return false, err
	}
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

// nextHour returns the first hour of the period that has a row.
func nextHour(ctx context.Context, tx *store.Tx, from, to int64, o owners) (hour sql.NullInt64, err error) {
	args := append([]any{from, to}, o.args...)
	err = tx.QueryRowContext(ctx, `SELECT MIN(hour) FROM (
			SELECT MIN(hour) AS hour FROM usage_hours WHERE hour >= ? AND hour < ?`+o.and+`
			UNION ALL
			SELECT MIN(hour) AS hour FROM usage_corrections WHERE hour >= ? AND hour < ?`+o.and+`) u`,
		append(args, args...)...).Scan(&hour)
	return hour, err
}

func (q *usageQuery) readSpan(ctx context.Context, tx *store.Tx, start, end int64, after cursor, out *[]Row) error {
	args := append(q.named.args[:len(q.named.args):len(q.named.args)], start, end)
	args = append(args, q.owners.args...)
	args = append(append(args, start, end), q.owners.args...)
	args = append(args, after.Tenant, after.Signal, after.Key, q.limit+1-len(*out))
	rows, err := tx.QueryContext(ctx, `SELECT u.tenant_id, `+q.named.name+`, row_signal, row_key_id, billed, overage,
			unbilled, records, requests, rejected, refused_bytes, refused_requests, corrections
		FROM (SELECT tenant_id, row_signal, row_key_id, CAST(SUM(billed_bytes) AS BIGINT) AS billed,
				CAST(SUM(overage_bytes) AS BIGINT) AS overage, CAST(SUM(unbilled_bytes) AS BIGINT) AS unbilled,
				CAST(SUM(records) AS BIGINT) AS records, CAST(SUM(requests) AS BIGINT) AS requests,
				CAST(SUM(rejected_records) AS BIGINT) AS rejected, CAST(SUM(refused_bytes) AS BIGINT) AS refused_bytes,
				CAST(SUM(refused_requests) AS BIGINT) AS refused_requests, CAST(SUM(correction) AS BIGINT) AS corrections
			FROM (
				SELECT tenant_id, `+q.columns+`, billed_bytes, overage_bytes, unbilled_bytes, records, requests,
					rejected_records, refused_bytes, refused_requests, 0 AS correction
				FROM usage_hours WHERE hour >= ? AND hour < ?`+q.owners.and+`
				UNION ALL
				SELECT tenant_id, `+q.columns+`, billed_bytes, overage_bytes, unbilled_bytes, records, requests,
					rejected_records, 0, 0, billed_bytes
				FROM usage_corrections WHERE hour >= ? AND hour < ?`+q.owners.and+`
			) r GROUP BY tenant_id, row_signal, row_key_id) u
		LEFT JOIN tenants t ON t.id = u.tenant_id
		WHERE (u.tenant_id, row_signal, row_key_id) > (?, ?, ?)
		ORDER BY u.tenant_id, row_signal, row_key_id LIMIT ?`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r := Row{Start: time.Unix(start, 0).In(q.zone), End: time.Unix(end, 0).In(q.zone), State: stateOf(end, q.open)}
		err := rows.Scan(&r.TenantID, &r.Tenant, &r.Signal, &r.Key, &r.BilledBytes, &r.OverageBytes, &r.UnbilledBytes,
			&r.Records, &r.Requests, &r.RejectedRecords, &r.RefusedBytes, &r.RefusedRequests, &r.CorrectionBytes)
		if err != nil {
			return err
		}
		*out = append(*out, r)
	}
	return rows.Err()
}
