package auth

import (
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Status is the state of a tenant. Only active tenants whose ancestors are all active are served.
type Status string

// The states. active ⇄ inactive → deleting → gone.
const (
	Active   Status = "active"
	Inactive Status = "inactive"
	Deleting Status = "deleting"
)

const (
	maxNameBytes         = 64
	maxDepth             = 8
	defaultRetentionDays = 30
	maxRetentionDays     = 3650
)

// Tenant is one organization.
type Tenant struct {
	ID     tenant.ID
	Name   string
	Parent tenant.ID // zero for a root
	Status Status
	// DailyBytes is the bytes billed per day at most, own and descendants'. nil is unlimited; with 0 nothing passes.
	DailyBytes    *int64
	Bounds        []tenant.Bound // all other limits, by kind and signal
	TimeZone      string         // whose days count; "" is UTC
	RetentionDays uint16
	AtLimit       tenant.Policy
	// Partition is the ClickHouse partition of the rows: one of sixteen shared ones, or the tenant's own, its id.
	Partition string
	// KeepResends stores a request each time it is sent, as if no ack were ever lost. It is the tenant's own: descendants
	// have theirs.
	KeepResends bool
	TenantDetails
	CreatedAt time.Time
	ChangedAt time.Time

	zone   *tenant.Zone // of TimeZone
	unread string       // the limits as stored, if this version does not understand them
}

// NewTenant is what Create needs. Only Name is required.
type NewTenant struct {
	Name          string
	Parent        string // name or id
	DailyBytes    *int64
	Bounds        []tenant.Bound
	TimeZone      string        // "" is UTC
	RetentionDays int           // 0 is 30
	AtLimit       tenant.Policy // "" is Refuse
	OwnPartition  bool
	KeepResends   bool
	TenantDetails // Slug "" is the name; Region "" is the deployment's; SecondFactor "" is optional
}

// Patch is a partial update: nil fields stay. The parent changes by Move.
type Patch struct {
	Name  *string
	Slug  *string
	Owner *string // "" for none
	// DailyBytes sets the limit; Unlimited removes it. Both together are an error.
	DailyBytes    *int64
	Unlimited     bool
	Bounds        *[]tenant.Bound // all of them: those that are left out are removed
	TimeZone      *string         // "" is UTC
	RetentionDays *int
	AtLimit       *tenant.Policy
	OwnPartition  *bool
	KeepResends   *bool

	PlanID, EditionID, SubscriptionID *string
	QueryTier                         *string // "" is the parent's
	MaxUsers, MaxKeys                 **int64 // a nil *int64 is unlimited
}

// normalName returns the form a name is stored and compared in: 1 to 64 of a-z 0-9 . _ -, the first a letter or digit.
// Upper case is folded.
//
// SECURITY: other alphabets are refused before folding, because some of their letters fold into ASCII or look like it (the
// Kelvin sign becomes k), and so is the form of an id, because names and ids are accepted in the same places.
func normalName(s string) (string, error) {
	bad := func() (string, error) {
		return "", detail(ErrInvalid, "tenant name %q: want 1 to %d characters of a-z 0-9 . _ - with a letter or digit first",
			clip(s), maxNameBytes)
	}
	if len(s) == 0 || len(s) > maxNameBytes {
		return bad()
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return bad()
		}
	}
	if _, err := ulid.ParseStrict(s); err == nil {
		return "", detail(ErrInvalid, "tenant name %q: has the form of an id", s)
	}
	return strings.ToLower(s), nil
}

func clip(s string) string { return s[:min(len(s), 2*maxNameBytes)] }

// check returns the first rule that t breaks. Names are checked by normalName.
func (t *Tenant) check(retentionDays int) error {
	if retentionDays < 1 || retentionDays > maxRetentionDays {
		return detail(ErrInvalid, "retention of %d days: want 1 to %d", retentionDays, maxRetentionDays)
	}
	t.RetentionDays = uint16(retentionDays)
	switch t.AtLimit {
	case tenant.Refuse, tenant.Drop, tenant.Bill, tenant.Sample:
	default:
		return detail(ErrInvalid, "at-limit policy %q: want refuse, drop, bill or sample", clip(string(t.AtLimit)))
	}
	if err := checkBounds(t.Bounds, false); err != nil {
		return err
	}
	if err := t.TenantDetails.check(); err != nil {
		return err
	}
	return checkDailyBytes(t.DailyBytes)
}

func checkDailyBytes(n *int64) error {
	if n != nil && *n < 0 {
		return detail(ErrInvalid, "daily limit of %d bytes: want 0 or more", *n)
	}
	return nil
}

// apply changes t as p says, or returns the first rule that the outcome breaks.
func (p Patch) apply(t *Tenant) error {
	if p.Name != nil {
		name, err := normalName(*p.Name)
		if err != nil {
			return err
		}
		t.Name = name
	}
	if p.Unlimited && p.DailyBytes != nil {
		return detail(ErrInvalid, "daily limit: both a number of bytes and unlimited")
	}
	if p.Unlimited || p.DailyBytes != nil {
		t.DailyBytes = p.DailyBytes
	}
	if p.Bounds != nil {
		t.Bounds, t.unread = sortBounds(*p.Bounds), ""
	}
	if p.TimeZone != nil {
		if err := t.setZone(*p.TimeZone); err != nil {
			return err
		}
	}
	if p.AtLimit != nil {
		t.AtLimit = *p.AtLimit
	}
	if p.OwnPartition != nil {
		t.Partition = t.ID.Partition(*p.OwnPartition)
	}
	if p.KeepResends != nil {
		t.KeepResends = *p.KeepResends
	}
	p.applyDetails(t)
	days := int(t.RetentionDays)
	if p.RetentionDays != nil {
		days = *p.RetentionDays
	}
	return t.check(days)
}
