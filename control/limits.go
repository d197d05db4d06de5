package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// Limit is one limit of a tenant or a key beside daily_bytes.
type Limit struct {
	Limit  string `json:"limit"`            // daily-bytes, bytes-per-second, requests-per-second, records-per-request, in-flight-requests or storage-bytes
	Signal string `json:"signal,omitempty"` // logs, traces, metrics or profiles; left out: all together
	Max    int64  `json:"max"`              // 0: nothing passes
	Burst  int64  `json:"burst,omitempty"`  // of rates: what may come at once after a pause; left out: one second's worth
}

// UnmarshalJSON implements json.Unmarshaler. A limit without its number is an error, not one of 0.
func (l *Limit) UnmarshalJSON(raw []byte) error {
	type plain Limit
	in := struct {
		*plain
		Max *int64 `json:"max"`
	}{plain: (*plain)(l)}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return err
	}
	if l.Limit == "" {
		return errors.New("limits: one has no limit, such as requests-per-second")
	}
	if in.Max == nil {
		return fmt.Errorf("limits: %.40q has no max", l.Limit)
	}
	l.Max = *in.Max
	return nil
}

// LowerLimit says that an ancestor's limit is below one of the tenant's own and holds in its place.
type LowerLimit struct {
	Limit     string `json:"limit"`
	Signal    string `json:"signal,omitempty"`
	LimitedBy string `json:"limited_by"`    // the ancestor's name, or "parent"
	Max       *int64 `json:"max,omitempty"` // left out for those who may not see the ancestor
}

// optionalBytes tells null from absent.
type optionalBytes struct {
	set   bool
	bytes *int64
}

// orStay returns what a patch has of it: nil where it is absent.
func (o optionalBytes) orStay() **int64 {
	if !o.set {
		return nil
	}
	return &o.bytes
}

// Value returns the bytes, nil for null and absent.
func (o optionalBytes) Value() *int64 { return o.bytes }

// UnmarshalJSON implements json.Unmarshaler.
func (o *optionalBytes) UnmarshalJSON(raw []byte) error {
	o.set = true
	return json.Unmarshal(raw, &o.bytes)
}

// MarshalJSON implements json.Marshaler.
func (o optionalBytes) MarshalJSON() ([]byte, error) { return json.Marshal(o.bytes) }

// optionalLimits tells null from absent.
type optionalLimits struct {
	set    bool
	limits []Limit
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *optionalLimits) UnmarshalJSON(raw []byte) error {
	o.set = true
	return json.Unmarshal(raw, &o.limits)
}

// bounds returns the limits for auth, nil for absent.
func (o optionalLimits) bounds() *[]tenant.Bound {
	if !o.set {
		return nil
	}
	b := bounds(o.limits)
	return &b
}

func bounds(limits []Limit) []tenant.Bound {
	var out []tenant.Bound
	for _, l := range limits {
		out = append(out, tenant.Bound{Kind: tenant.Kind(l.Limit), Signal: l.Signal, Max: l.Max, Burst: l.Burst})
	}
	return out
}

func showLimits(bounds []tenant.Bound) []Limit {
	out := []Limit{}
	for _, b := range bounds {
		out = append(out, Limit{string(b.Kind), b.Signal, b.Max, b.Burst})
	}
	return out
}

// addLower says in out where an ancestor's limit is below one of t.
//
// SECURITY: auth leaves out names and numbers that p may not see; an effective limit that is such a number is left out too.
func (a *API) addLower(out *Tenant, p auth.Principal, t auth.Tenant) {
	out.EffectiveDailyBytes = optionalBytes{set: true, bytes: t.DailyBytes}
	for _, l := range a.Directory.Tenants().Lower(p, t) {
		var most *int64
		if l.Max != tenant.Unlimited {
			most = &l.Max
		}
		if l.Kind == tenant.DailyBytes && l.Signal == "" {
			out.LimitedBy, out.EffectiveDailyBytes = l.By, optionalBytes{set: most != nil, bytes: most}
			continue
		}
		out.LowerLimits = append(out.LowerLimits, LowerLimit{string(l.Kind), l.Signal, l.By, most})
	}
}

// limits answers with the limits of the calling key and its tenant.
func (a *API) limits(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	if p.KeyID() == "" {
		return nil, httpapi.Errorf(http.StatusForbidden, auth.ErrForbidden.Code, "limits are those of an API key: call with one")
	}
	c := metering.Charge{Tenant: p.Tenant(), Key: p.KeyID(), AtLimit: p.AtLimit(), Limits: p.Chain()}
	states, err := a.Limits(r.Context(), c, a.Now())
	if err != nil {
		return nil, err
	}
	return Limits{Limits: states}, nil
}
