package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/control"
)

// battlefield is a headgate with the tenant acme and its sister lab below group. The tenant globex is nobody's relative.
type battlefield struct {
	*site
	credentials map[string]string // by who, as the attacks name them
	known       known
	author      string // a session of acme
}

// The attacks' hour.
var attacked = time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)

const (
	sharedTrace = "0af7651916cd43dd8448eb211c80319c" // acme and globex both have spans of it
	acmeTrace   = "11111111111111111111111111111111"
	freshTrace  = "33333333333333333333333333333333"
)

func newBattlefield(t *testing.T) *battlefield {
	p := serveOn(t, t.TempDir(), "--query-cache-age", "0s")
	raw, err := os.ReadFile(filepath.Join(p.dir, adminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	f := &battlefield{site: &site{t: t, process: p, operator: strings.TrimSpace(string(raw))}}
	for _, body := range []string{`{"name":"group"}`, `{"name":"acme","parent":"group"}`, `{"name":"lab","parent":"group"}`} {
		f.do(f.operator, "POST", "/api/v1/tenants", body)
	}
	f.author = f.first("acme", "ann@acme.example", "admin").Token
	f.credentials = map[string]string{
		"nobody": "", "acme": f.key("acme", "query"), "ingest": f.key("acme", "ingest"), "usage": f.key("acme", "usage"), "parent": f.key("group", "query", "descendants"),
		"sister": f.key("lab", "query"), "revoked": f.key("acme", "query"), "ann": f.author, "empty": f.key("group", "query"),
	}
	f.cli("key", "revoke", f.credentials["revoked"])
	f.known = known{"canary": "canary" + rand.Text(), "trace": acmeTrace, "shared.trace": sharedTrace, "acme.key": f.credentials["acme"], "lab.key": f.credentials["sister"]}
	for _, name := range []string{"acme", "lab", "group"} {
		f.known[name+".id"] = get[control.Tenant](f.site, f.operator, "/api/v1/tenants/"+name).ID
	}
	f.telemetry("acme", f.key("acme", "ingest"), "acme", sharedTrace, acmeTrace)
	f.flushed()
	f.save("acme", f.author, f.credentials["acme"])
	// Nothing is known of globex yet: what the attacks name of it is made up, in its shape.
	for _, name := range []string{"globex.id", "globex.query", "globex.dashboard"} {
		f.known[name] = ulid.Make().String()
	}
	f.known["globex.trace"] = "abcdefabcdefabcdefabcdefabcdefab"
	f.known["globex.cursor"] = strings.Map(func(r rune) rune {
		if r == 'B' {
			return 'C'
		}
		return r
	}, f.known["acme.cursor"][:40]) + strings.Repeat("A", len(f.known["acme.cursor"])-40)
	f.soon("the revocation", func() bool {
		status, _ := f.ask(f.credentials["revoked"], "POST", "/api/v1/query", `{"query":"logs | count"}`)
		return status == 401
	})
	return f
}

// invade makes the tenant globex and gives it all that acme has, and canaries.
func (f *battlefield) invade() {
	f.t.Helper()
	f.do(f.operator, "POST", "/api/v1/tenants", `{"name":"globex"}`)
	key := f.key("globex", "ingest", "query")
	f.known["globex.id"] = get[control.Tenant](f.site, f.operator, "/api/v1/tenants/globex").ID
	f.known["globex.trace"] = "fedcbafedcbafedcbafedcbafedcbafe"
	canary := f.known["canary"]
	f.telemetry("acme", key, "acme", sharedTrace, acmeTrace)
	f.telemetry(canary, key, canary, sharedTrace, f.known["globex.trace"])
	f.telemetry(canary, key, "acme", acmeTrace, f.known["globex.trace"])
	f.flushed()
	f.save("globex", f.first("globex", "gil@globex.example", "admin").Token, key)
	// The attacks could find something: globex itself does, over every interface.
	hour := fmt.Sprintf("start=%d&end=%d", attacked.UnixMicro(), attacked.Add(time.Hour).UnixMicro())
	for _, target := range []string{
		"GET /jaeger/api/services", "GET /jaeger/api/traces/" + f.known["globex.trace"], "GET /jaeger/api/v3/traces/" + f.known["globex.trace"],
		"GET /jaeger/api/traces?service=shop&limit=100&" + hour, "GET /prometheus/api/v1/label/__name__/values?start=1741082400&end=1741086000",
		"GET /prometheus/api/v1/metadata", "GET /prometheus/api/v1/query_exemplars?query=http_requests_total&start=1741082400&end=1741086000",
		`POST /api/v1/query {"query":"logs","start":"2025-03-04T10:00:00Z","end":"2025-03-04T11:00:00Z"}`,
		"GET /api/v1/saved-queries", "GET /api/v1/dashboards", "POST /api/v1/saved-queries/" + f.known["globex.query"] + "/run {}",
	} {
		parts := append(strings.SplitN(target, " ", 3), "")
		if status, text := f.ask(key, parts[0], parts[1], parts[2]); status != 200 || !strings.Contains(text, canary) {
			f.t.Errorf("globex asks %s: %d %s, want a canary", target, status, text)
		}
	}
}

// save makes what attacks name as ${tenant.query} and the like.
func (f *battlefield) save(tenant, session, key string) {
	f.t.Helper()
	mark := "acme"
	if tenant == "globex" {
		mark = f.known["canary"]
	}
	q := send[control.SavedQuery](f.site, session, "POST", "/api/v1/saved-queries", quoted(`{"name":%q,"sharing":"tenant",
		"query":"logs | where body ~ $text | project body","variables":[{"name":"text","type":"string","default":"body"}],"start":"2025-03-04T10:00:00Z","end":"2025-03-04T11:00:00Z"}`, "query of "+mark))
	d := send[control.Dashboard](f.site, session, "POST", "/api/v1/dashboards", quoted(`{"name":%q,"sharing":"tenant","panels":[{"id":"counts","title":%q,"query":"logs | count"}]}`, "board of "+mark, mark))
	f.known[tenant+".query"], f.known[tenant+".dashboard"] = q.ID, d.ID
	status, text := f.ask(key, "POST", "/api/v1/query", `{"query":"logs","limit":1,"start":"2025-03-04T10:00:00Z","end":"2025-03-04T11:00:00Z"}`)
	page := unmarshal[struct {
		Next string `json:"next_cursor"`
	}](f.t, text)
	if status != 200 || page.Next == "" {
		f.t.Fatalf("no cursor: %d %s", status, text)
	}
	f.known[tenant+".cursor"] = page.Next
	tampered := []byte(page.Next)
	tampered[20] ^= 1
	f.known[tenant+".tampered"] = string(tampered)
}

// telemetry sends logs, spans and metrics of the attacks' hour and of now, with mark in their texts. The first trace has one
// span, the second two.
func (f *battlefield) telemetry(mark, key, service string, traces ...string) {
	f.t.Helper()
	if service != mark || service == "acme" {
		service = "shop"
	}
	resource := quoted(`"resource":{"attributes":[{"key":"service.name","value":{"stringValue":%q}},{"key":"host.name","value":{"stringValue":%q}}]}`, service, "host of "+mark)
	attributes := quoted(`"attributes":[{"key":"http.route","value":{"stringValue":%q}},{"key":"tenant_id","value":{"stringValue":"globex"}},{"key":"user","value":{"stringValue":%q}}]`, "/"+mark, mark)
	at := func(minute int) int64 { return attacked.Add(time.Duration(minute) * time.Minute).UnixNano() }
	now := time.Now().Add(-time.Minute).UnixNano()

	var logs, spans, sums []string
	for i := range 3 {
		logs = append(logs, quoted(`{"timeUnixNano":"%d","severityNumber":%d,"traceId":%q,"body":{"stringValue":%q},%s}`, at(10*i+1), 9+4*i, traces[0], fmt.Sprintf("body %d of %s", i, mark), attributes))
	}
	for i, when := range []int64{at(1), at(2), at(3), now} {
		trace := traces[min(i, 1)]
		if when == now {
			trace = freshTrace // answers with now in them are not the same twice
		}
		spans = append(spans, quoted(`{"traceId":%q,"spanId":"%016x","name":%q,"kind":%d,"startTimeUnixNano":"%d","endTimeUnixNano":"%d",%s}`,
			trace, i+1+len(mark)*16, "span of "+mark, i+1, when, when+1_000_000, attributes))
	}
	for i, when := range []int64{at(10), at(20), at(30), now} {
		sums = append(sums, quoted(`{"timeUnixNano":"%d","startTimeUnixNano":"%d","asInt":"%d",%s,"exemplars":[{"timeUnixNano":"%d","asInt":"1","traceId":%q,"filteredAttributes":[{"key":"user","value":{"stringValue":%q}}]}]}`,
			when, at(0), 60*(i+1), attributes, when, traces[0], mark))
	}
	f.mustPost("/v1/logs", key, quoted(`{"resourceLogs":[{%s,"scopeLogs":[{"scope":{"name":%q},"logRecords":[%s]}]}]}`, resource, mark, strings.Join(logs, ",")))
	f.mustPost("/v1/traces", key, quoted(`{"resourceSpans":[{%s,"scopeSpans":[{"scope":{"name":%q},"spans":[%s]}]}]}`, resource, mark, strings.Join(spans, ",")))
	f.mustPost("/v1/metrics", key, quoted(`{"resourceMetrics":[{%s,"scopeMetrics":[{"scope":{"name":"lib"},"metrics":[
		{"name":"http.requests","description":%q,"unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[%s]}},
		{"name":%q,"gauge":{"dataPoints":[{"timeUnixNano":"%d","asInt":"1"}]}}]}]}]}`, resource, "requests of "+mark, strings.Join(sums, ","), "own."+mark, at(30)))
}
