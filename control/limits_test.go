package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/metering"
)

func TestLimitsAreConfigured(t *testing.T) {
	s := start(t)
	made := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme","time_zone":"Europe/Berlin","daily_bytes":100,
		"limits":[{"limit":"requests-per-second","max":100},{"limit":"bytes-per-second","signal":"logs","max":5,"burst":20}]}`)
	want := []Limit{{"bytes-per-second", "logs", 5, 20}, {"requests-per-second", "", 100, 0}}
	if !reflect.DeepEqual(made.Limits, want) || made.TimeZone != "Europe/Berlin" || *made.EffectiveDailyBytes.bytes != 100 || made.LimitedBy != "" {
		t.Errorf("created %+v", made)
	}
	patch := func(body string) Tenant {
		t.Helper()
		return ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/acme", body)
	}
	if got := patch(`{"retention_days":3}`); !reflect.DeepEqual(got.Limits, want) || got.TimeZone != "Europe/Berlin" {
		t.Errorf("a patch changed what it left out: %+v", got)
	}
	// What is shown can be sent back.
	shown, _ := json.Marshal(map[string]any{"limits": made.Limits})
	if got := patch(string(shown)); !reflect.DeepEqual(got.Limits, want) {
		t.Errorf("sent back: %+v", got.Limits)
	}
	if got := patch(`{"limits":[{"limit":"storage-bytes","max":0}],"time_zone":"UTC"}`); !reflect.DeepEqual(got.Limits, []Limit{{"storage-bytes", "", 0, 0}}) || got.TimeZone != "UTC" {
		t.Errorf("replaced: %+v", got)
	}
	if got := patch(`{"limits":null}`); len(got.Limits) != 0 {
		t.Errorf("null leaves %+v", got.Limits)
	}
	if _, text := s.call(s.operator, "GET", "/api/v1/tenants/acme", ""); !strings.Contains(text, `"limits":[]`) || strings.Contains(text, "storage_bytes") {
		t.Errorf("shown without limits: %s", text)
	}
	s.kept = map[string]int64{made.ID: 77}
	if got := ok[Tenant](s, 200, s.operator, "GET", "/api/v1/tenants/acme", ""); got.StorageBytes == nil || *got.StorageBytes != 77 {
		t.Errorf("stored bytes: %+v", got)
	}

	key := ok[NewKey](s, 201, s.operator, "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"],"daily_bytes":9,"limits":[{"limit":"in-flight-requests","max":2}]}`)
	if !reflect.DeepEqual(key.Limits, []Limit{{"in-flight-requests", "", 2, 0}}) {
		t.Errorf("created %+v", key)
	}
	set := ok[Key](s, 200, s.operator, "PATCH", "/api/v1/keys/"+key.ID, `{"limits":[{"limit":"daily-bytes","signal":"traces","max":3}]}`)
	if !reflect.DeepEqual(set.Limits, []Limit{{"daily-bytes", "traces", 3, 0}}) || *set.DailyBytes != 9 {
		t.Errorf("set %+v", set)
	}
	if set = ok[Key](s, 200, s.operator, "PATCH", "/api/v1/keys/"+key.ID, `{"daily_bytes":null}`); len(set.Limits) != 1 || set.DailyBytes != nil {
		t.Errorf("set %+v", set)
	}
	if got := ok[Key](s, 200, s.operator, "GET", "/api/v1/keys/"+key.ID, ""); !reflect.DeepEqual(got, set) {
		t.Errorf("shown %+v, want %+v", got, set)
	}
	s.refused(404, "not-found", s.key("acme", "ingest", "admin"), "GET", "/api/v1/keys/01J00000000000000000000000", "")
	states := ok[Limits](s, 200, key.Text, "GET", "/api/v1/limits", "").Limits
	if !slices.ContainsFunc(states, func(l metering.LimitState) bool {
		return l.ID == "limit-daily-bytes-key" && l.Signal == "traces" && l.Limit == 3
	}) {
		t.Errorf("the key's limits are %+v", states)
	}
}

// TestBadLimitsAreRefusedWithTheirAnswer has every bad value, in bodies of all four kinds.
func TestBadLimitsAreRefusedWithTheirAnswer(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	key := ok[NewKey](s, 201, s.operator, "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"]}`)
	const invalid, body = "invalid-argument", "body-invalid"
	const kinds = "daily-bytes, bytes-per-second, requests-per-second, records-per-request, in-flight-requests or storage-bytes"
	for _, c := range []struct{ limits, code, want string }{
		{`[{"limit":"requests-per-second","max":-1}]`, invalid, "limit requests-per-second of -1: want 0 to 1152921504606846976"},
		{`[{"limit":"requests-per-second","max":9000000000000000000}]`, invalid, "limit requests-per-second of 9000000000000000000: want 0 to 1152921504606846976"},
		{`[{"limit":"requests-per-second","max":99999999999999999999}]`, body, "cannot unmarshal number 99999999999999999999"},
		{`[{"limit":"requests-per-second","max":1.5}]`, body, "cannot unmarshal number 1.5"},
		{`[{"limit":"requests-per-second","max":"5"}]`, body, "cannot unmarshal string"},
		{`[{"limit":"requests-per-second"}]`, body, `limits: "requests-per-second" has no max`},
		{`[{"limit":"requests-per-second","max":null}]`, body, `limits: "requests-per-second" has no max`},
		{`[{"max":5}]`, body, "limits: one has no limit, such as requests-per-second"},
		{`[null]`, body, "limits: one has no limit, such as requests-per-second"},
		{`[5]`, body, "cannot unmarshal number"},
		{`{}`, body, "cannot unmarshal object"},
		{`[{"limit":"requests-per-second","max":1,"per":"second"}]`, body, `unknown field "per"`},
		{`[{"limit":"requests","max":1}]`, invalid, `limit "requests": want ` + kinds},
		{`[{"limit":"Requests-Per-Second","max":1}]`, invalid, `limit "Requests-Per-Second": want ` + kinds},
		{`[{"limit":"requests-per-second","signal":"log","max":1}]`, invalid, `limit requests-per-second of signal "log": want logs, traces, metrics or profiles`},
		{`[{"limit":"requests-per-second","max":1},{"limit":"requests-per-second","max":2}]`, invalid, "limit requests-per-second is there twice"},
		{`[{"limit":"requests-per-second","max":1,"burst":-1}]`, invalid, "limit requests-per-second with a burst of -1: want 0 to 1152921504606846976"},
		{`[{"limit":"records-per-request","max":1,"burst":2}]`, invalid, "limit records-per-request: only rates have a burst"},
		{`[{"limit":"storage-bytes","signal":"logs","max":1}]`, invalid, "limit storage-bytes:logs: it is of all signals together"},
		{`[{"limit":"daily-bytes","max":1}]`, invalid, "limit daily-bytes of all signals: it is the tenant's or key's daily_bytes"},
	} {
		for path, rest := range map[string]string{"POST /api/v1/tenants": `,"name":"globex"`, "PATCH /api/v1/tenants/acme": "",
			"POST /api/v1/keys": `,"tenant":"acme","scopes":["ingest"]`, "PATCH /api/v1/keys/" + key.ID: ""} {
			method, path, _ := strings.Cut(path, " ")
			s.refusedWith(400, c.code, c.want, method, path, `{"limits":`+c.limits+rest+`}`)
		}
	}
	s.refusedWith(400, invalid, "limit storage-bytes of a key: what is kept is a tenant's", "PATCH", "/api/v1/keys/"+key.ID, `{"limits":[{"limit":"storage-bytes","max":1}]}`)
	for zone, want := range map[string]string{
		"Mars/Olympus": `time zone "Mars/Olympus" is unknown: want a name such as Europe/Berlin or an offset such as +05:30`,
		"CET+1":        `time zone "CET+1" is unknown: want a name such as Europe/Berlin or an offset such as +05:30`,
		"+15:00":       `time zone "+15:00": want an offset up to 14:59`,
	} {
		s.refusedWith(400, invalid, want, "POST", "/api/v1/tenants", `{"name":"globex","time_zone":"`+zone+`"}`)
		s.refusedWith(400, invalid, want, "PATCH", "/api/v1/tenants/acme", `{"time_zone":"`+zone+`"}`)
	}
	s.refused(404, "not-found", s.operator, "PATCH", "/api/v1/keys/01J00000000000000000000000", `{"limits":null}`)
	if got := ok[Tenant](s, 200, s.operator, "GET", "/api/v1/tenants/acme", ""); len(got.Limits) != 0 || got.TimeZone != "UTC" {
		t.Errorf("a refused change is there: %+v", got)
	}
}

// refusedWith is refused by the operator, with a text that says so.
func (s *server) refusedWith(status int, code, want, method, path, body string) {
	s.t.Helper()
	got, text := s.call(s.operator, method, path, body)
	var p struct{ Code, Detail string }
	if err := json.Unmarshal([]byte(text), &p); err != nil || got != status || p.Code != code || !strings.Contains(p.Detail, want) {
		s.t.Errorf("%s %s %s: %d %s, want %d %s %q", method, path, body, got, text, status, code, want)
	}
}

// TestLowerLimitsOfParentsAreTold: the operator sees whose and how low, a tenant's admin that there is one.
func TestLowerLimitsOfParentsAreTold(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme","daily_bytes":1234567,"limits":[{"limit":"requests-per-second","max":89012}]}`)
	child := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"dev","parent":"acme","daily_bytes":2000000,
		"limits":[{"limit":"requests-per-second","max":100000},{"limit":"in-flight-requests","max":5}]}`)
	most := int64(89012)
	if child.LimitedBy != "acme" || *child.EffectiveDailyBytes.bytes != 1234567 || !reflect.DeepEqual(child.LowerLimits, []LowerLimit{{"requests-per-second", "", "acme", &most}}) {
		t.Errorf("the operator is shown %+v", child)
	}
	admin := s.key("dev", "admin")
	for _, path := range []string{"/api/v1/tenants/dev", "/api/v1/tenants", "/api/v1/tenants/" + child.ID} {
		_, text := s.call(admin, "GET", path, "")
		if !strings.Contains(text, `"limited_by":"parent"`) || strings.Contains(text, "effective_daily_bytes") ||
			!strings.Contains(text, `"lower_limits":[{"limit":"requests-per-second","limited_by":"parent"}]`) {
			t.Errorf("%s: the tenant is shown %s", path, text)
		}
		for _, secret := range []string{"acme", "1234567", "89012"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the tenant learns %s: %s", path, secret, text)
			}
		}
	}
	// Below the parent's, or as high, the own limit holds.
	for _, daily := range []string{"1234567", "5", "0"} {
		got := ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/dev", `{"daily_bytes":`+daily+`,"limits":null}`)
		if got.LimitedBy != "" || fmt.Sprint(*got.EffectiveDailyBytes.bytes) != daily || got.LowerLimits != nil {
			t.Errorf("with %s: %+v", daily, got)
		}
	}
	// Unlimited below a limit is limited; unlimited without one says so.
	if got := ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/dev", `{"daily_bytes":null}`); got.LimitedBy != "acme" || *got.EffectiveDailyBytes.bytes != 1234567 {
		t.Errorf("unlimited below a limit: %+v", got)
	}
	ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/acme", `{"daily_bytes":null}`)
	if _, text := s.call(admin, "GET", "/api/v1/tenants/dev", ""); !strings.Contains(text, `"effective_daily_bytes":null`) || strings.Contains(text, "limited_by") {
		t.Errorf("unlimited: %s", text)
	}
}

// TestOpenAPIDocumentTellsOfLimits: what is answered and taken is what the document says, member by member.
func TestOpenAPIDocumentTellsOfLimits(t *testing.T) {
	s := start(t)
	type schema struct {
		Properties map[string]map[string]any
	}
	doc := ok[struct {
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]schema }
	}](s, 200, s.operator, "GET", "/api/openapi.json", "")
	schemas := doc.Components.Schemas
	if doc.Paths["/api/v1/keys/{key}"]["patch"] == nil {
		t.Error("PATCH of keys is not in the document")
	}
	const list = `[{"limit":"requests-per-second","max":9,"burst":10,"signal":"logs"}]`
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme","daily_bytes":1,"limits":`+list+`}`)
	made := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"dev","parent":"acme","limits":`+strings.ReplaceAll(list, "9", "11")+`}`)
	s.kept = map[string]int64{made.ID: 5}
	key := ok[NewKey](s, 201, s.operator, "POST", "/api/v1/keys", `{"tenant":"dev","scopes":["ingest"],"limits":`+list+`}`)
	for _, c := range []struct {
		schema, path string
		member       string // of the answer, "" is all of it
	}{
		{"Tenant", "/api/v1/tenants/dev", ""}, {"Limit", "/api/v1/tenants/dev", "limits"}, {"LowerLimit", "/api/v1/tenants/dev", "lower_limits"},
		{"Key", "/api/v1/keys?tenant=dev", "keys"}, {"LimitState", "/api/v1/limits", "limits"},
	} {
		token := s.operator
		if c.path == "/api/v1/limits" {
			token = key.Text
		}
		answer := ok[map[string]any](s, 200, token, "GET", c.path, "")
		if c.member != "" {
			answer = answer[c.member].([]any)[0].(map[string]any)
		}
		for name, value := range answer {
			if p := schemas[c.schema].Properties[name]; p == nil || !fits(p, value) {
				t.Errorf("%s.%s is %T, the document says %v", c.schema, name, value, p)
			}
		}
	}
	for name, members := range map[string][]string{"NewTenant": {"limits", "time_zone"}, "TenantPatch": {"limits", "time_zone"},
		"KeyRequest": {"limits"}, "KeyPatch": {"limits", "daily_bytes"}} {
		for _, m := range members {
			if schemas[name].Properties[m] == nil {
				t.Errorf("the document lacks %s.%s", name, m)
			}
		}
	}
}

// fits reports whether a value has the type of a property's schema.
func fits(p map[string]any, value any) bool {
	if p["$ref"] != nil {
		_, ok := value.(map[string]any)
		return ok
	}
	is := map[string]bool{}
	switch v := value.(type) {
	case nil:
		is["null"] = true
	case string:
		is["string"] = true
	case bool:
		is["boolean"] = true
	case float64:
		is["integer"], is["number"] = v == float64(int64(v)), true
	case []any:
		is["array"] = true
	case map[string]any:
		is["object"] = true
	}
	switch types := p["type"].(type) {
	case string:
		return is[types]
	case []any:
		return slices.ContainsFunc(types, func(t any) bool { return is[t.(string)] })
	}
	return true
}
