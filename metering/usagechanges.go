package metering

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// ChangesFilter selects what changed.
type ChangesFilter struct {
	Tenants     []tenant.ID // whose; empty is an error, never everybody
	Descendants bool        // as in Filter
	Limit       int         // per page; 0 is 1000, at most 10000
	Cursor      string      // Next of the page before, of today or of last year; "" begins with the first entry of all
}

// Changes is a page of entries that were new or changed since a cursor, with what they amount to now, in the order of their
// changes. Corrections of one hour, dated in one hour, are one entry here.
//
// Whoever puts each entry in the place of the one of the same id has a copy of the ledger, as of the page without More; the
// same cursor may be used again, and an entry may come again. Nothing is left out, whatever is written meanwhile: revisions
// are in the order of the commits.
type Changes struct {
	Rows          []Entry   `json:"rows"`
	SealedThrough time.Time `json:"sealed_through"`
	More          bool      `json:"more"` // Next has entries now
	Next          string    `json:"next"` // never ""
}

// changeCursor is the place of a change in the order.
type changeCursor struct {
	Rev      int64  `json:"r"`
	Tenant   string `json:"t"`
	Hour     int64  `json:"h"`
	Signal   string `json:"g"`
	Key      string `json:"k"`
	Corrects int64  `json:"c"`
	Bound    string `json:"q"`
}

// Changes returns a page of the changes of the filter's tenants.
func (l *Ledger) Changes(ctx context.Context, f ChangesFilter) (Changes, error) {
	if len(f.Tenants) == 0 {
		return Changes{}, fmt.Errorf("%w: no tenant", ErrFilter)
	}
	return l.changes(ctx, f)
}

// UnsafeChangesOfAll returns a page of the changes of all tenants; f.Tenants is ignored.
//
// SECURITY: only for operators.
func (l *Ledger) UnsafeChangesOfAll(ctx context.Context, f ChangesFilter) (Changes, error) {
	f.Tenants = nil
	return l.changes(ctx, f)
}

func (l *Ledger) changes(ctx context.Context, f ChangesFilter) (out Changes, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = defaultRows
	}
	limit = min(limit, maxRows)
	bound := bind("changes", f.Tenants, f.Descendants)
	after := changeCursor{Rev: -1}
	if f.Cursor != "" {
		if err := unpackCursor(f.Cursor, &after); err != nil || after.Bound != bound || !plain(after.Tenant+after.Signal+after.Key) {
			return Changes{}, errCursor
		}
	}
	o := ownersOf(f.Tenants, f.Descendants)
	var places []changeCursor
	err = l.db.View(ctx, func(tx *store.Tx) error {
		open, err := sealedThrough(ctx, tx, l.now())
		if err != nil {
			return err
		}
		out.SealedThrough = time.Unix(open, 0).UTC()
		out.Rows, places, err = readChanges(ctx, tx, after, open, o, limit+1)
		return err
	})
	if err != nil {
		return Changes{}, fmt.Errorf("read changes of the usage: %w", err)
	}
	if out.More = len(out.Rows) > limit; out.More {
		out.Rows, places = out.Rows[:limit], places[:limit]
	}
	last := after
	if len(places) > 0 {
		last = places[len(places)-1]
	}
	last.Bound = bound
	out.Next = packCursor(last)
	return out, nil
}

// readChanges returns the first changes behind a place, and their places.
func readChanges(ctx context.Context, tx *store.Tx, after changeCursor, open int64, o owners, limit int) ([]Entry, []changeCursor, error) {
	behind := []any{after.Rev, after.Rev, after.Tenant, after.Hour, after.Signal, after.Key, after.Corrects}
	hours, err := queryChanges(ctx, tx, open, `SELECT tenant_id, hour, signal, key_id, -1 AS corrects, rev, `+entryCounts+`,
			refused_bytes, refused_requests
		FROM usage_hours WHERE rev >= ?`+o.and+` AND (rev, tenant_id, hour, signal, key_id, -1) > (?, ?, ?, ?, ?, ?)
		ORDER BY rev, tenant_id, hour, signal, key_id LIMIT ?`, spread(behind, o.args, limit)...)
	if err != nil {
		return nil, nil, err
	}
	corrections, err := queryChanges(ctx, tx, open, `SELECT * FROM (
			SELECT tenant_id, hour, signal, key_id, corrects, MAX(rev) AS rev, `+entrySums+`, 0 AS refused_bytes, 0 AS refused_requests
			FROM usage_corrections WHERE (tenant_id, hour, signal, key_id, corrects) IN (
				SELECT tenant_id, hour, signal, key_id, corrects FROM usage_corrections WHERE rev >= ?`+o.and+`)
			GROUP BY tenant_id, hour, signal, key_id, corrects) c
		WHERE (rev, tenant_id, hour, signal, key_id, corrects) > (?, ?, ?, ?, ?, ?)
		ORDER BY rev, tenant_id, hour, signal, key_id, corrects LIMIT ?`, spread(behind, o.args, limit)...)
	if err != nil {
		return nil, nil, err
	}
	all := append(hours, corrections...)
	slices.SortFunc(all, func(a, b change) int { return a.at.compare(b.at) })
	all = all[:min(limit, len(all))]
	entries, places := make([]Entry, len(all)), make([]changeCursor, len(all))
	for i, c := range all {
		entries[i], places[i] = c.entry, c.at
	}
	return entries, places, nameEntries(ctx, tx, entries)
}

// spread puts the owners' arguments behind the first of the place's, and the limit at the end.
func spread(place, owners []any, limit int) []any {
	out := append([]any{place[0]}, owners...)
	return append(append(out, place[1:]...), limit)
}

const entrySums = `CAST(SUM(billed_bytes) AS BIGINT) AS billed_bytes, CAST(SUM(overage_bytes) AS BIGINT) AS overage_bytes,
	CAST(SUM(unbilled_bytes) AS BIGINT) AS unbilled_bytes, CAST(SUM(records) AS BIGINT) AS records,
	CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(rejected_records) AS BIGINT) AS rejected_records`

type change struct {
	entry Entry
	at    changeCursor
}

func (c changeCursor) compare(o changeCursor) int {
	return cmp.Or(cmp.Compare(c.Rev, o.Rev), cmp.Compare(c.Tenant, o.Tenant), cmp.Compare(c.Hour, o.Hour),
		cmp.Compare(c.Signal, o.Signal), cmp.Compare(c.Key, o.Key), cmp.Compare(c.Corrects, o.Corrects))
}

func queryChanges(ctx context.Context, tx *store.Tx, open int64, query string, args ...any) ([]change, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []change
	for rows.Next() {
		var c change
		e := &c.entry
		err := rows.Scan(&c.at.Tenant, &c.at.Hour, &c.at.Signal, &c.at.Key, &c.at.Corrects, &c.at.Rev, &e.BilledBytes,
			&e.OverageBytes, &e.UnbilledBytes, &e.Records, &e.Requests, &e.RejectedRecords, &e.RefusedBytes, &e.RefusedRequests)
		if err != nil {
			return nil, err
		}
		e.TenantID, e.Signal, e.Key = c.at.Tenant, Signal(c.at.Signal), c.at.Key
		if c.at.Corrects >= 0 {
			e.correctionID = fmt.Sprintf("%s/%s/%s/%s/corrects/%s", e.TenantID, time.Unix(c.at.Hour, 0).UTC().Format(hourLayout), e.Signal,
				e.Key, time.Unix(c.at.Corrects, 0).UTC().Format(hourLayout))
		}
		e.finish(c.at.Hour, c.at.Corrects, open)
		out = append(out, c)
	}
	return out, rows.Err()
}

// nameEntries gives entries the names that their tenants have today.
func nameEntries(ctx context.Context, tx *store.Tx, entries []Entry) error {
	names := map[string]string{}
	stmt, err := tx.PrepareContext(ctx, `SELECT COALESCE(MAX(name), '') FROM tenants WHERE id = ?`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for i := range entries {
		e := &entries[i]
		name, ok := names[e.TenantID]
		if !ok {
			if err := stmt.QueryRowContext(ctx, e.TenantID).Scan(&name); err != nil {
				return err
			}
			names[e.TenantID] = name
		}
		e.Tenant = name
	}
	return nil
}
