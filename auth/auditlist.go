package auth

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// AuditFilter selects entries. Members that are left out select all.
type AuditFilter struct {
	Tenant  string // name or id; "" is everything in the caller's reach
	Actor   string // "operator", "key:…", "user:…" or "system"
	Action  string // "key.create", or "key." for all that begin so
	Target  string
	Outcome string
	From    time.Time // first moment
	To      time.Time // end, exclusive
	Before  int64     // entries older than this id; 0 starts at the newest
	Limit   int       // 0 is 100, at most 1000
}

// Audit lists entries that the caller may read, newest first. next goes into Before for the page after, 0 at the end. It needs
// audit.read; that a user reads the audit of another tenant than the home is audited. Errors: ErrNotFound for the tenant,
// ErrForbidden, ErrInvalid.
func (d *Directory) Audit(ctx context.Context, by Principal, f AuditFilter) (entries []Entry, next int64, err error) {
	limit := pageSize(f.Limit)
	var whose tenant.ID
	err = d.db.View(ctx, func(tx *store.Tx) error {
		where, args, err := f.where(ctx, tx, by)
		if err != nil {
			return err
		}
		if f.Tenant != "" && by.User() != "" {
			t, err := resolve(ctx, tx, by, f.Tenant)
			if err != nil {
				return err
			}
			whose = t.ID
		}
		if f.Before == 0 {
			f.Before = math.MaxInt64
		}
		return eachEntry(ctx, tx, where+` AND id < ? ORDER BY id DESC LIMIT ?`, append(args, f.Before, limit+1), func(e *Entry) error {
			entries = append(entries, e.seenBy(by))
			return nil
		})
	})
	if err == nil && !whose.IsZero() {
		err = d.AuditCrossTenant(ctx, by, whose, "audit.list", whose.String())
	}
	if err != nil {
		return nil, 0, err
	}
	if len(entries) > limit {
		entries = entries[:limit]
		next = entries[limit-1].ID
	}
	return entries, next, nil
}

// ExportAudit hands the entries that f selects to emit, oldest first, up to the one that says of the export itself. f.Before and
// f.Limit count for nothing. It holds a page at a time. Errors: those of Audit and of emit.
func (d *Directory) ExportAudit(ctx context.Context, by Principal, f AuditFilter, emit func(Entry) error) error {
	at := d.now().UTC().Truncate(time.Millisecond)
	var where string
	var args []any
	err := d.db.View(ctx, func(tx *store.Tx) (err error) {
		where, args, err = f.where(ctx, tx, by)
		return err
	})
	if err != nil {
		return d.auditRefusal(ctx, by, "audit.export", f.Tenant, at, err)
	}
	var last int64
	err = d.db.Update(ctx, func(tx *store.Tx) error {
		e := by.entry(at, "audit.export")
		e.Tenant = by.Tenant()
		if f.Tenant != "" {
			t, err := resolve(ctx, tx, by, f.Tenant)
			if err != nil {
				return err
			}
			e.Tenant, e.Target = t.ID, t.ID.String()
		}
		e.Detail = changeDetail("export", nil, f.asked())
		if _, err := atHomeToo(ctx, tx, by, at, e.Action, by.Home(), e); err != nil {
			return err
		}
		if err := writeEntry(ctx, tx, e); err != nil {
			return err
		}
		// SECURITY: no row is read, the newest id of all only ends the export.
		return tx.QueryRowContext(ctx, `SELECT CAST(MAX(id) AS BIGINT) FROM audit`).Scan(&last)
	})
	for from := int64(math.MinInt64); err == nil && from < last; {
		var page []Entry
		err = d.db.View(ctx, func(tx *store.Tx) error {
			return eachEntry(ctx, tx, where+` AND id > ? AND id <= ? ORDER BY id LIMIT ?`, append(args[:len(args):len(args)], from, last, maxPage), func(e *Entry) error {
				page = append(page, *e)
				return nil
			})
		})
		for i := 0; err == nil && i < len(page); i++ {
			err = emit(page[i].seenBy(by))
		}
		if len(page) < maxPage {
			break
		}
		from = page[len(page)-1].ID
	}
	return err
}

// where returns the condition of the entries that by may read and f selects.
func (f AuditFilter) where(ctx context.Context, tx *store.Tx, by Principal) (where string, args []any, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return "", nil, err
	}
	// SECURITY: only the operator's is without a tenant.
	reach, args, err := auditReach(ctx, tx, by, f.Tenant)
	if err != nil {
		return "", nil, err
	}
	where = `1 = 1` + reach
	and := func(cond string, more ...any) { where, args = where+` AND `+cond, append(args, more...) }
	switch f.Outcome {
	case "", OutcomeOK, OutcomeRefused:
	default:
		return "", nil, detail(ErrInvalid, "outcome %q: want %s or %s", clip(f.Outcome), OutcomeOK, OutcomeRefused)
	}
	if strings.HasSuffix(f.Action, ".") {
		and(`substr(action, 1, ?) = ?`, len(f.Action), plainText(f.Action))
		f.Action = ""
	}
	for _, c := range []struct{ column, is string }{{"actor", f.Actor}, {"action", f.Action}, {"target", f.Target}, {"outcome", f.Outcome}} {
		if c.is != "" {
			and(c.column+` = ?`, plainText(c.is))
		}
	}
	if !f.From.IsZero() {
		and(`at >= ?`, f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		and(`at < ?`, f.To.UnixMilli())
	}
	return where, args, nil
}

// asked is what the entry of an export says was selected.
func (f AuditFilter) asked() map[string]any {
	out := map[string]any{}
	for name, s := range map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target, "outcome": f.Outcome} {
		if s != "" {
			out[name] = clip(s)
		}
	}
	for name, t := range map[string]time.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			out[name] = t.UTC()
		}
	}
	return out
}

// seenBy returns e as by may see it.
//
// SECURITY: a tenant is told who acted on it, and not of the tenants above or beside it.
func (e *Entry) seenBy(by Principal) Entry {
	out := *e
	if e.Acting != e.Tenant && !by.IsOperator() {
		if _, reached := by.Permissions(e.Acting); !reached {
			out.Acting = tenant.ID{}
		}
	}
	return out
}

func pageSize(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return min(n, maxPage)
}

// page cuts rows, of which one more than limit was asked for, to limit, and returns the cursor of the next page, "" for none.
func page[T any](rows []T, limit int, cursor func(*T) string) ([]T, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	rows = rows[:limit]
	return rows, cursor(&rows[limit-1])
}

// eachEntry calls fn with each entry of the condition, which holds until fn returns.
func eachEntry(ctx context.Context, tx *store.Tx, where string, args []any, fn func(*Entry) error) error {
	rows, err := tx.QueryContext(ctx,
		`SELECT id, at, actor, tenant_id, acting, address, action, target, outcome, detail, seq, hash FROM audit WHERE `+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var e Entry
		var at int64
		var owner, acting, detail string
		var hash []byte
		if err := rows.Scan(&e.ID, &at, &e.Actor, &owner, &acting, &e.Address, &e.Action, &e.Target, &e.Outcome, &detail, &e.Seq, &hash); err != nil {
			return err
		}
		e.At, e.Detail = time.UnixMilli(at).UTC(), json.RawMessage(detail)
		copy(e.Hash[:], hash)
		if e.Tenant, err = optionalID(owner); err != nil {
			return err
		}
		if e.Acting, err = optionalID(acting); err != nil {
			return err
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
	return rows.Err()
}

func optionalID(s string) (tenant.ID, error) {
	if s == "" {
		return tenant.ID{}, nil
	}
	return tenant.ParseID(s)
}
