package control

import (
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
	Limits        []Limit   `json:"limits"`
	TimeZone      string    `json:"time_zone"`
	AtLimit       string    `json:"at_limit"`
	RetentionDays int       `json:"retention_days"`
	Placement     string    `json:"placement"` // own or shared
	Partition     string    `json:"partition"`
	KeepResends   bool      `json:"keep_resends"`
	Slug          string    `json:"slug"`  // what sign-in names the tenant by
	Owner         string    `json:"owner"` // e-mail address
	PlanID        string    `json:"plan_id"`
	EditionID     string    `json:"edition_id"`
	Subscription  string    `json:"subscription_id"`
	Region        string    `json:"region"`
	SecondFactor  string    `json:"second_factor"` // disabled, optional, admins or required
	MaxUsers      *int64    `json:"max_users"`     // null: unlimited; own and descendants'
	MaxKeys       *int64    `json:"max_keys"`
	QueryTier     string    `json:"query_tier"` // of the operator's sets of query limits; empty: the parent's, or the default
	CreatedAt     time.Time `json:"created_at"`
	ChangedAt     time.Time `json:"changed_at"`

	// AverageDailyBytes is what was billed per day, the descendants' with it, over the last thirty days of UTC that are sealed,
	// or over those of them that the tenant was there; only in lists that ask for usage, and to who may read it.
	AverageDailyBytes *int64 `json:"average_daily_bytes,omitempty"`
	// AveragePercent is that in percent of the tenant's own daily limit; left out without one.
	AveragePercent *float64 `json:"average_percent,omitempty"`

	// EffectiveDailyBytes is the lowest limit from here to the root, null for none; left out when it is another's and the
	// caller may not see that one.
	EffectiveDailyBytes optionalBytes `json:"effective_daily_bytes,omitzero"`
	// LimitedBy is whose lower limit of daily bytes holds in place of the tenant's own: an ancestor's name, or "parent".
	LimitedBy   string       `json:"limited_by,omitempty"`
	LowerLimits []LowerLimit `json:"lower_limits,omitempty"`
	// StorageBytes is what the tenant keeps in ClickHouse, with its descendants, as last measured; left out before that.
	StorageBytes *int64 `json:"storage_bytes,omitempty"`
}

// NewTenant is the body that creates a tenant.
type NewTenant struct {
	Name          string  `json:"name"`
	Parent        string  `json:"parent,omitempty"` // name or id
	DailyBytes    *int64  `json:"daily_bytes,omitempty"`
	Limits        []Limit `json:"limits,omitempty"`
	TimeZone      string  `json:"time_zone,omitempty"` // whose days count, e.g. Europe/Berlin or +05:30; UTC when left out
	RetentionDays int     `json:"retention_days,omitempty"`
	AtLimit       string  `json:"at_limit,omitempty"`
	Placement     string  `json:"placement,omitempty"`
	KeepResends   bool    `json:"keep_resends,omitempty"`
	Slug          string  `json:"slug,omitempty"`  // the name when left out
	Owner         string  `json:"owner,omitempty"` // e-mail address
	PlanID        string  `json:"plan_id,omitempty"`
	EditionID     string  `json:"edition_id,omitempty"`
	Subscription  string  `json:"subscription_id,omitempty"`
	Region        string  `json:"region,omitempty"` // the deployment's, or nothing
	MaxUsers      *int64  `json:"max_users,omitempty"`
	MaxKeys       *int64  `json:"max_keys,omitempty"`
	QueryTier     string  `json:"query_tier,omitempty"` // by the operator
}

// TenantPatch is the body that changes a tenant; members that are left out stay as they are.
type TenantPatch struct {
	Name          *string        `json:"name,omitempty"`
	DailyBytes    optionalBytes  `json:"daily_bytes,omitzero"` // null: unlimited
	Limits        optionalLimits `json:"limits,omitzero"`      // all of them; null: none
	TimeZone      *string        `json:"time_zone,omitempty"`
	RetentionDays *int           `json:"retention_days,omitempty"`
	AtLimit       *tenant.Policy `json:"at_limit,omitempty"`
	Placement     *string        `json:"placement,omitempty"`
	KeepResends   *bool          `json:"keep_resends,omitempty"`
	Slug          *string        `json:"slug,omitempty"`
	Owner         *string        `json:"owner,omitempty"`
	PlanID        *string        `json:"plan_id,omitempty"`
	EditionID     *string        `json:"edition_id,omitempty"`
	Subscription  *string        `json:"subscription_id,omitempty"`
	MaxUsers      optionalBytes  `json:"max_users,omitzero"` // null: unlimited
	MaxKeys       optionalBytes  `json:"max_keys,omitzero"`
	QueryTier     *string        `json:"query_tier,omitempty"` // by the operator; empty: the parent's, or the default
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
	ID          string   `json:"id"`
	Tenant      string   `json:"tenant"` // name
	TenantID    string   `json:"tenant_id"`
	Name        string   `json:"name"`
	OwnerUser   string   `json:"owner_user"` // id of the user of the tenant who answers for the key
	Scopes      []string `json:"scopes"`
	DailyBytes  *int64   `json:"daily_bytes"` // null: only the tenant's limit holds
	Limits      []Limit  `json:"limits"`
	CORSOrigins []string `json:"cors_origins"` // that browsers may send from; empty: not limited by the key
	// ClientCertificates name those with which alone the key is taken over OTLP; empty: with any and none.
	ClientCertificates []string   `json:"client_certificates"`
	Status             string     `json:"status"` // active, expired or revoked
	CreatedAt          time.Time  `json:"created_at"`
	ExpiresAt          *time.Time `json:"expires_at"`
	RevokedAt          *time.Time `json:"revoked_at"`
	LastUsedAt         *time.Time `json:"last_used_at"` // by any of its secrets, to the minute
	RotatedAt          *time.Time `json:"rotated_at"`
	// OldSecret is there while the secret before the last rotation still opens.
	OldSecret *OldSecret `json:"old_secret,omitempty"`
}

// OldSecret is the secret of a key before its last rotation.
type OldSecret struct {
	ValidUntil time.Time  `json:"valid_until"`
	LastUsedAt *time.Time `json:"last_used_at"` // since the rotation, to the minute
}

// Rotation is the body that gives a key another secret.
type Rotation struct {
	Overlap string `json:"overlap"` // how long the secret before goes on opening, such as 24h; up to 720h; 0s ends it at once
}

// NewKey is a key with its text, which is shown once, when it is made.
type NewKey struct {
	Key
	Text string `json:"key"`
}

// KeyRequest is the body that creates a key.
type KeyRequest struct {
	Tenant      string          `json:"tenant"` // name or id; a key's own tenant when left out
	Name        string          `json:"name,omitempty"`
	OwnerUser   string          `json:"owner_user,omitempty"` // id of a user of the tenant
	Scopes      []auth.KeyScope `json:"scopes"`
	DailyBytes  *int64          `json:"daily_bytes,omitempty"`
	Limits      []Limit         `json:"limits,omitempty"`
	CORSOrigins []string        `json:"cors_origins,omitempty"` // https://host[:port], or *; with the scope ingest
	// ClientCertificates is each a URI, dns:NAME or sha256:HASH of a certificate; with the scope ingest alone.
	ClientCertificates []string   `json:"client_certificates,omitempty"`
	ExpiresAt          *time.Time `json:"expires_at,omitempty"`
}

// KeyPatch is the body that changes a key; members that are left out stay as they are.
type KeyPatch struct {
	DailyBytes optionalBytes  `json:"daily_bytes,omitzero"` // null: only the tenant's limit holds
	Limits     optionalLimits `json:"limits,omitzero"`      // all of them; null: none
	Name       *string        `json:"name,omitempty"`
	OwnerUser  *string        `json:"owner_user,omitempty"` // "": nobody
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
