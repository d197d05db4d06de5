package control

import (
	"encoding/json"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// Tenant is a tenant as the API shows it.
type Tenant struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Parent        string    `json:"parent,omitempty"` // name
	Status        string    `json:"status"`
	DailyBytes    *int64    `json:"daily_bytes"` // null: unlimited
	AtLimit       string    `json:"at_limit"`
	RetentionDays int       `json:"retention_days"`
	Placement     string    `json:"placement"` // own or shared
	Partition     string    `json:"partition"`
	KeepResends   bool      `json:"keep_resends"`
	CreatedAt     time.Time `json:"created_at"`
	ChangedAt     time.Time `json:"changed_at"`
}

// NewTenant is the body that creates a tenant.
type NewTenant struct {
	Name          string `json:"name"`
	Parent        string `json:"parent,omitempty"` // name or id
	DailyBytes    *int64 `json:"daily_bytes,omitempty"`
	RetentionDays int    `json:"retention_days,omitempty"`
	AtLimit       string `json:"at_limit,omitempty"`
	Placement     string `json:"placement,omitempty"`
	KeepResends   bool   `json:"keep_resends,omitempty"`
}

// TenantPatch is the body that changes a tenant; members that are left out stay as they are.
type TenantPatch struct {
	Name          *string        `json:"name,omitempty"`
	DailyBytes    optionalBytes  `json:"daily_bytes,omitzero"` // null: unlimited
	RetentionDays *int           `json:"retention_days,omitempty"`
	AtLimit       *tenant.Policy `json:"at_limit,omitempty"`
	Placement     *string        `json:"placement,omitempty"`
	KeepResends   *bool          `json:"keep_resends,omitempty"`
}

// optionalBytes tells null from absent.
type optionalBytes struct {
	set   bool
	bytes *int64
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *optionalBytes) UnmarshalJSON(raw []byte) error {
	o.set = true
	return json.Unmarshal(raw, &o.bytes)
}

// Confirmation is the body that deletes a tenant.
type Confirmation struct {
	Confirm string `json:"confirm"` // the tenant's name
}

// Tenants is a page of tenants.
type Tenants struct {
	Tenants []Tenant `json:"tenants"`
	Next    string   `json:"next,omitempty"` // cursor of the next page
}

// Key is an API key as the API shows it, without its secret.
type Key struct {
	ID          string     `json:"id"`
	Tenant      string     `json:"tenant"` // name
	TenantID    string     `json:"tenant_id"`
	Scopes      []string   `json:"scopes"`
	DailyBytes  *int64     `json:"daily_bytes"`  // null: only the tenant's limit holds
	CORSOrigins []string   `json:"cors_origins"` // that browsers may send from; empty: not limited by the key
	Status      string     `json:"status"`       // active, expired or revoked
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"`
	RevokedAt   *time.Time `json:"revoked_at"`
}

// NewKey is a key with its text, which is shown once, when it is made.
type NewKey struct {
	Key
	Text string `json:"key"`
}

// KeyRequest is the body that creates a key.
type KeyRequest struct {
	Tenant      string          `json:"tenant"` // name or id; a key's own tenant when left out
	Scopes      []auth.KeyScope `json:"scopes"`
	DailyBytes  *int64          `json:"daily_bytes,omitempty"`
	CORSOrigins []string        `json:"cors_origins,omitempty"` // https://host[:port], or *; with the scope ingest
	ExpiresAt   *time.Time      `json:"expires_at,omitempty"`
}

// Keys is a page of keys.
type Keys struct {
	Keys []Key  `json:"keys"`
	Next string `json:"next,omitempty"`
}

// Limits are those that hold for the caller's key.
type Limits struct {
	Limits []metering.LimitState `json:"limits"`
}

// AuditEntry is one line of the audit.
type AuditEntry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Tenant  string          `json:"tenant_id,omitempty"`
	Action  string          `json:"action"`
	Target  string          `json:"target"`
	Outcome string          `json:"outcome"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// AuditPage is a page of the audit, newest first.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next,omitempty"`
}
