package auth

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Outcomes of audited acts.
const (
	OutcomeOK      = "ok"
	OutcomeRefused = "refused"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// Entry is one line of the audit: who did what on what, when, and how it ended. Entries are never changed or removed; a
// trigger of the database holds that. Detail is JSON without secrets.
type Entry struct {
	ID      int64 // ascending
	At      time.Time
	Actor   string    // "operator" or "key:<key id>"
	Tenant  tenant.ID // whose audit it belongs to; zero if none
	Action  string    // "tenant.create", …
	Target  string    // id of the tenant or key
	Outcome string
	Detail  json.RawMessage
}

// AuditFilter selects entries, newest first.
type AuditFilter struct {
	Tenant string // name or id; "" is everything in the caller's reach
	Before int64  // entries older than this id; 0 starts at the newest
	Limit  int    // 0 is 100, at most 1000
}

// Audit lists entries of the tenants in which by has audit.read. next goes into Before for the page after, 0 at the end.
func (d *Directory) Audit(ctx context.Context, by Principal, f AuditFilter) (entries []Entry, next int64, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return nil, 0, err
	}
	limit := pageSize(f.Limit)
	err = d.db.View(ctx, func(tx *store.Tx) error {
		before := f.Before
		if before == 0 {
			before = math.MaxInt64
		}
		and, args, err := auditReach(ctx, tx, by, f.Tenant)
		if err != nil {
			return err
		}
		args = append([]any{before}, args...)
		entries, err = queryEntries(ctx, tx, `id < ?`+and+` ORDER BY id DESC LIMIT ?`, append(args, limit+1)...)
		return err
	})
	if err == nil && len(entries) > limit {
		entries = entries[:limit]
		next = entries[limit-1].ID
	}
	return entries, next, err
}

func pageSize(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return min(n, maxPage)
}

func queryEntries(ctx context.Context, tx *store.Tx, where string, args ...any) ([]Entry, error) {
	rows, err := tx.QueryContext(ctx,
		`SELECT id, at, actor, tenant_id, action, target, outcome, detail FROM audit WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var e Entry
		var at int64
		var owner, detail string
		if err := rows.Scan(&e.ID, &at, &e.Actor, &owner, &e.Action, &e.Target, &e.Outcome, &detail); err != nil {
			return nil, err
		}
		e.At, e.Detail = time.UnixMilli(at).UTC(), json.RawMessage(detail)
		if owner != "" {
			if e.Tenant, err = tenant.ParseID(owner); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func writeEntry(ctx context.Context, tx *store.Tx, e Entry) error {
	if e.Detail == nil {
		e.Detail = json.RawMessage("{}")
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO audit (at, actor, tenant_id, action, target, outcome, detail)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
		e.At.UnixMilli(), e.Actor, e.Tenant.String(), e.Action, plainText(e.Target), e.Outcome, plainText(string(e.Detail)))
	return err
}

// auditRefusal records that by was not permitted to do what cause tells, and returns cause. Other failures are the
// caller's mistakes or outages and leave no entry. The entry belongs to the caller's tenant: to the target's it would tell
// who tried.
func (d *Directory) auditRefusal(ctx context.Context, by Principal, action, target string, at time.Time, cause error) error {
	if !errors.Is(cause, ErrForbidden) {
		return cause
	}
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		return writeEntry(ctx, tx, Entry{At: at, Actor: by.actor(), Tenant: by.Tenant(), Action: action,
			Target: clip(target), Outcome: OutcomeRefused})
	})
	if err != nil {
		d.log.Warn("a refused change could not be audited", "action", action, "err", err)
	}
	return cause
}

// auditDetail is what entries say about a change. It has no field for a secret.
type auditDetail struct {
	Before    *planDetail `json:"before,omitempty"`
	After     *planDetail `json:"after,omitempty"`
	KeyBefore *keyDetail  `json:"key_before,omitempty"`
	Key       *keyDetail  `json:"key,omitempty"`
}

type planDetail struct {
	Name          string         `json:"name"`
	Parent        string         `json:"parent,omitempty"`
	Status        Status         `json:"status"`
	DailyBytes    *int64         `json:"daily_bytes"`
	Limits        []tenant.Bound `json:"limits,omitempty"`
	TimeZone      string         `json:"time_zone,omitempty"`
	RetentionDays uint16         `json:"retention_days"`
	AtLimit       tenant.Policy  `json:"at_limit"`
	Partition     string         `json:"partition"`
	KeepResends   bool           `json:"keep_resends"`
	Slug          string         `json:"slug"`
	Owner         string         `json:"owner,omitempty"`
	PlanID        string         `json:"plan_id,omitempty"`
	Edition       string         `json:"edition_id,omitempty"`
	Subscription  string         `json:"subscription_id,omitempty"`
	Region        string         `json:"region,omitempty"`
	SecondFactor  string         `json:"second_factor"`
	MaxUsers      *int64         `json:"max_users,omitempty"`
	MaxKeys       *int64         `json:"max_keys,omitempty"`
}

type keyDetail struct {
	Scopes      []KeyScope     `json:"scopes"`
	DailyBytes  *int64         `json:"daily_bytes"`
	Limits      []tenant.Bound `json:"limits,omitempty"`
	CORSOrigins []string       `json:"cors_origins,omitempty"`
	ExpiresAt   *time.Time     `json:"expires_at,omitempty"`
	Name        string         `json:"name,omitempty"`
	Owner       string         `json:"owner,omitempty"`
	OldUntil    *time.Time     `json:"old_until,omitempty"`
}

func planOf(t Tenant) *planDetail {
	return &planDetail{t.Name, t.Parent.String(), t.Status, t.DailyBytes, t.Bounds, t.TimeZone, t.RetentionDays, t.AtLimit, t.Partition,
		t.KeepResends, t.Slug, t.Owner, t.PlanID, t.EditionID, t.SubscriptionID, t.Region, t.SecondFactor, t.MaxUsers, t.MaxKeys}
}

func (a auditDetail) json() json.RawMessage {
	b, err := json.Marshal(a)
	if err != nil {
		panic("BUG: audit detail: " + err.Error())
	}
	return b
}
