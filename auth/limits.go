package auth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/tenant"
)

// checkBounds returns the first rule that the limits of a tenant or, with ofKey, of a key break.
func checkBounds(bounds []tenant.Bound, ofKey bool) error {
	if err := tenant.CheckBounds(bounds); err != nil {
		return detail(ErrInvalid, "%s", err)
	}
	if ofKey && slices.ContainsFunc(bounds, func(b tenant.Bound) bool { return b.Kind == tenant.StorageBytes }) {
		return detail(ErrInvalid, "limit storage-bytes of a key: what is kept is a tenant's")
	}
	return nil
}

// sortBounds returns the limits as they are stored: by kind, then by signal, all signals first. nil for none.
func sortBounds(bounds []tenant.Bound) []tenant.Bound {
	return slices.SortedFunc(slices.Values(bounds), func(a, b tenant.Bound) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)),
			slices.Index(tenant.Signals, a.Signal)-slices.Index(tenant.Signals, b.Signal))
	})
}

// boundsText is what is stored of sorted limits: JSON, "" for none.
func boundsText(bounds []tenant.Bound) string {
	if len(bounds) == 0 {
		return ""
	}
	b, err := json.Marshal(bounds)
	if err != nil {
		panic("BUG: limits: " + err.Error())
	}
	return string(b)
}

// parseBounds reads what is stored. What another version has written may be no limits that this one knows.
func parseBounds(text string, ofKey bool) (bounds []tenant.Bound, err error) {
	if text == "" {
		return nil, nil
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields() // it might say where the limit does not hold
	if err := dec.Decode(&bounds); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	if err := checkBounds(bounds, ofKey); err != nil {
		return nil, err
	}
	return bounds, nil
}

// zones are those of time zones' names, one for each, so that what a zone remembers of today serves all its tenants. There
// are as many as names of zones that exist.
var zones sync.Map

// zoneOf returns the zone of a name, nil for UTC.
func zoneOf(name string) (*tenant.Zone, error) {
	if z, ok := zones.Load(name); ok {
		return z.(*tenant.Zone), nil
	}
	z, err := tenant.LoadZone(name)
	if err != nil {
		return nil, detail(ErrInvalid, "%s", err)
	}
	known, _ := zones.LoadOrStore(name, z)
	return known.(*tenant.Zone), nil
}

// setZone makes name the tenant's time zone. UTC is stored as "".
func (t *Tenant) setZone(name string) error {
	z, err := zoneOf(name)
	if err != nil {
		return err
	}
	if z == nil {
		name = ""
	}
	t.TimeZone, t.zone = name, z
	return nil
}

// readLimits takes the limits and the zone from the tenant's row. What it does not understand makes the tenant unread.
func (t *Tenant) readLimits(limits, zone string) {
	bounds, err := parseBounds(limits, false)
	if err != nil {
		t.unread = limits
	}
	t.Bounds, t.TimeZone = bounds, zone
	t.zone, _ = zoneOf(zone)
}

// readable reports whether all that is stored of the tenant's limits is understood.
//
// SECURITY: the keys of a tenant that is not are refused until it is. To leave out what a newer version has written would
// let the tenant pass a limit.
func (t *Tenant) readable() bool { return t.unread == "" && (t.zone != nil || t.TimeZone == "") }

// limitsText is what is stored of the tenant's limits.
func (t *Tenant) limitsText() string {
	if t.unread != "" {
		return t.unread
	}
	return boundsText(t.Bounds)
}

// Lower is a limit of an ancestor that is below a tenant's own of the same kind, and holds in its place.
type Lower struct {
	Kind   tenant.Kind
	Signal string // "" is all signals
	By     string // the ancestor's name; "parent" to who may not see it
	Max    int64  // tenant.Unlimited to who may not see the ancestor
}

// Lower returns where ancestors' limits are below those of t: for all daily bytes, and for each of its Bounds.
//
// SECURITY: who may not see an ancestor learns that there is a lower limit, not whose and not how low.
func (s *Tenants) Lower(by Principal, t Tenant) []Lower {
	own := append([]tenant.Bound{{Kind: tenant.DailyBytes, Max: limitOf(t.DailyBytes)}}, t.Bounds...)
	var out []Lower
	var above []*Tenant
	s.d.mu.RLock()
	for at := s.d.tenants[t.Parent]; at != nil && len(above) < maxDepth; at = s.d.tenants[at.Parent] {
		above = append(above, at)
	}
	s.d.mu.RUnlock()
	for _, b := range own {
		least, holder := b.Max, (*Tenant)(nil)
		for _, at := range above {
			if n := at.limit(b.Kind, b.Signal); n != tenant.Unlimited && (least == tenant.Unlimited || n < least) {
				least, holder = n, at
			}
		}
		switch {
		case holder == nil:
		case by.Can(permission.TenantsRead, holder.ID) == nil:
			out = append(out, Lower{b.Kind, b.Signal, holder.Name, least})
		default:
			out = append(out, Lower{b.Kind, b.Signal, "parent", tenant.Unlimited})
		}
	}
	return out
}

// limit returns the tenant's own limit of a kind and signal.
func (t *Tenant) limit(kind tenant.Kind, signal string) int64 {
	if kind == tenant.DailyBytes && signal == "" {
		return limitOf(t.DailyBytes)
	}
	for _, b := range t.Bounds {
		if b.Kind == kind && b.Signal == signal {
			return b.Max
		}
	}
	return tenant.Unlimited
}
