package auth

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Outcomes of audited acts.
const (
	OutcomeOK      = "ok"
	OutcomeRefused = "refused"
)

// Entry is one line of the audit: who did what on what, when, from where, and how it ended. Entries are never changed or removed; a
// trigger of the database holds that, and the chain shows it. Detail is JSON without secrets.
type Entry struct {
	ID      int64 // ascending
	At      time.Time
	Actor   string    // "operator", "key:<key id>", "user:<user id>" or "system"
	Tenant  tenant.ID // whose audit it belongs to; zero if none
	Acting  tenant.ID // in which the actor acted; zero for none, or one that the reader does not reach
	Address string    // where the request came from, "" if it is not known
	Action  string    // "tenant.create", …
	Target  string    // id of the tenant or key
	Outcome string
	Detail  json.RawMessage
	Seq     int64  // in the tenant's chain, from 1; 0 before there were chains
	Hash    Digest // over the entry and the Hash of the one before; zero before there were chains
}

// entry begins an entry of what p did.
func (p Principal) entry(at time.Time, action string) Entry {
	return Entry{At: at, Actor: p.actor(), Acting: p.Tenant(), Action: action, Outcome: OutcomeOK}
}

// writeEntry appends e to its tenant's chain, with the address of ctx. It is the one place where entries are written.
func writeEntry(ctx context.Context, tx *store.Tx, e Entry) error {
	if e.Outcome == OutcomeOK {
		if err := hold(ctx, tx); err != nil {
			return err
		}
	}
	if e.Detail == nil {
		e.Detail = json.RawMessage("{}")
	}
	e.Target, e.Detail, e.Address = plainText(e.Target), json.RawMessage(plainText(string(e.Detail))), plainText(clip(origin(ctx)))
	return appendEntry(ctx, tx, &e)
}

// auditRefusal records that by was not permitted to do what cause tells, and returns cause. Other failures are the
// caller's mistakes or outages and leave no entry. The entry belongs to the caller's tenant: to the target's it would tell
// who tried.
func (d *Directory) auditRefusal(ctx context.Context, by Principal, action, target string, at time.Time, cause error) error {
	if !errors.Is(cause, ErrForbidden) {
		return cause
	}
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		e := by.entry(at, action)
		e.Tenant, e.Target, e.Outcome = by.Tenant(), clip(target), OutcomeRefused
		return writeEntry(ctx, tx, e)
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
	QueryTier     string         `json:"query_tier,omitempty"`
}

type keyDetail struct {
	Scopes      []KeyScope     `json:"scopes"`
	DailyBytes  *int64         `json:"daily_bytes"`
	Limits      []tenant.Bound `json:"limits,omitempty"`
	CORSOrigins []string       `json:"cors_origins,omitempty"`
	ClientCerts []string       `json:"client_certificates,omitempty"`
	ExpiresAt   *time.Time     `json:"expires_at,omitempty"`
	Name        string         `json:"name,omitempty"`
	Owner       string         `json:"owner,omitempty"`
	OldUntil    *time.Time     `json:"old_until,omitempty"`
}

func planOf(t Tenant) *planDetail {
	return &planDetail{t.Name, t.Parent.String(), t.Status, t.DailyBytes, t.Bounds, t.TimeZone, t.RetentionDays, t.AtLimit, t.Partition,
		t.KeepResends, t.Slug, t.Owner, t.PlanID, t.EditionID, t.SubscriptionID, t.Region, t.SecondFactor, t.MaxUsers, t.MaxKeys, t.QueryTier}
}

func (a auditDetail) json() json.RawMessage {
	b, err := json.Marshal(a)
	if err != nil {
		panic("BUG: audit detail: " + err.Error())
	}
	return b
}
