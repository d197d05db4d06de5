package control

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// billed is a server whose ledger has usage of a few tenants of one hour two days ago, sealed, and of the present hour.
//
//	acme ─ acme-eu ─ acme-eu-dev
//	     └ acme-us
//	globex
type billed struct {
	*server
	ids    map[string]string // tenant → id
	keys   map[string]string // tenant → key with the scope usage
	hour   time.Time         // the one that is sealed
	ledger *metering.Ledger
	run    uint64
	done   atomic.Bool // nothing keeps the hour open
}

func startBilled(t *testing.T) *billed {
	t.Helper()
	b := &billed{ids: map[string]string{}, keys: map[string]string{}, hour: timetest.NewRunning().Now().UTC().Add(-48 * time.Hour).Truncate(time.Hour)}
	b.server = startPending(t, func() (time.Time, bool) { return b.hour, !b.done.Load() })
	b.ledger = b.api.Ledger
	for i, c := range [][2]string{{"acme", ""}, {"acme-eu", "acme"}, {"acme-us", "acme"}, {"acme-eu-dev", "acme-eu"}, {"globex", ""}} {
		raw, _ := json.Marshal(map[string]string{"name": c[0], "parent": c[1]})
		b.ids[c[0]] = ok[Tenant](b.server, 201, b.operator, "POST", "/api/v1/tenants", string(raw)).ID
		b.keys[c[0]] = b.key(c[0], "usage")
		b.add(c[0], b.hour, 1<<i)
		b.add(c[0], b.clock.Now(), 100)
	}
	return b
}

// add bills bytes of a tenant: late, if the hour is sealed.
func (b *billed) add(name string, at time.Time, bytes int64) {
	b.t.Helper()
	p, err := b.api.Directory.Authenticate(b.keys[name])
	if err != nil {
		b.t.Fatal(err)
	}
	b.run++
	_, err = b.ledger.Apply(b.t.Context(), "log", b.run, []metering.Receipt{{Tenant: p.Tenant(), Key: "key-" + name, Signal: metering.Logs,
		ReceivedAt: at, BilledBytes: bytes, Records: bytes}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// settle waits until the hour two days ago is sealed.
func (b *billed) settle() {
	b.t.Helper()
	b.done.Store(true)
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		u := ok[metering.Usage](b.server, 200, b.operator, "GET", "/api/v1/usage?limit=1", "")
		if u.SealedThrough.After(b.hour) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatal("nothing is sealed")
		}
	}
}

// sums are the rows of each tenant made one: the two hours of billed lie in two months when a month is young.
func sums(rows []metering.Row) (out []metering.Row) {
	for _, r := range rows {
		i := slices.IndexFunc(out, func(o metering.Row) bool { return o.TenantID == r.TenantID })
		if i < 0 {
			out = append(out, r)
			continue
		}
		out[i].BilledBytes += r.BilledBytes
	}
	return out
}

func names(rows []metering.Row) string {
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprint(r.Tenant, "=", r.BilledBytes))
	}
	return strings.Join(out, " ")
}

// SECURITY: a tenant with those below it, and nobody else: who is beside or above answers like who is not there.
func TestUsageOfATenantAndItsDescendants(t *testing.T) {
	b := startBilled(t)
	for _, c := range []struct{ key, query, want string }{
		{"acme", "", "acme=101"},
		{"acme", "?descendants=true", "acme=101 acme-eu=102 acme-us=104 acme-eu-dev=108"},
		{"acme-eu", "?descendants=true&tenant=acme-eu", "acme-eu=102 acme-eu-dev=108"},
		{"acme-eu-dev", "?descendants=true&tenant=ACME-EU-DEV", "acme-eu-dev=108"},
		{"globex", "?descendants=true", "globex=116"},
		{"", "?tenant=acme-eu&descendants=true", "acme-eu=102 acme-eu-dev=108"},
		{"", "", "acme=101 acme-eu=102 acme-us=104 acme-eu-dev=108 globex=116"},
	} {
		key := b.keys[c.key]
		if c.key == "" {
			key = b.operator
		}
		sep := "?"
		if c.query != "" {
			sep = c.query + "&"
		}
		rows := ok[metering.Usage](b.server, 200, key, "GET", "/api/v1/usage"+sep+"from=1990-01-01&to=2990-01-01&by=month&zone=UTC", "").Rows
		if got := names(sums(rows)); got != c.want {
			t.Errorf("%s%s: %s, want %s", c.key, c.query, got, c.want)
		}
	}
	for _, path := range []string{"/api/v1/usage", "/api/v1/usage/changes", "/api/v1/usage/corrections", "/api/v1/usage/export", "/api/v1/usage/export/manifest"} {
		_, missing := b.call(b.keys["acme-eu"], "GET", path+"?tenant=nobody", "")
		for _, name := range []string{"acme", "acme-us", "globex", b.ids["acme"], b.ids["globex"]} {
			for _, more := range []string{"", "&descendants=true"} {
				if status, text := b.call(b.keys["acme-eu"], "GET", path+"?tenant="+name+more, ""); status != 404 || text != missing {
					t.Errorf("%s of %s: %d %s, want 404 %s", path, name, status, text, missing)
				}
			}
		}
	}
}

func TestAnswersHaveATagThatHolds(t *testing.T) {
	b := startBilled(t)
	b.settle()
	for _, query := range []string{"", "&format=csv"} {
		path := "/api/v1/usage?by=hour&to=" + b.hour.Add(time.Hour).Format(time.RFC3339) + query
		first, text := b.request(b.keys["acme"], http.MethodGet, path, "", nil)
		tag := first.Header.Get("ETag")
		if first.StatusCode != 200 || !strings.HasPrefix(tag, `"`) || first.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%d %v", first.StatusCode, first.Header)
		}
		for _, have := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			again, body := b.request(b.keys["acme"], http.MethodGet, path, "", map[string]string{"If-None-Match": have})
			if again.StatusCode != 304 || body != "" || again.Header.Get("ETag") != tag {
				t.Errorf("If-None-Match %s: %d %q", have, again.StatusCode, body)
			}
		}
		if again, body := b.request(b.keys["acme"], http.MethodGet, path, "", map[string]string{"If-None-Match": `"other"`}); again.StatusCode != 200 || body != text {
			t.Errorf("another tag: %d %s", again.StatusCode, body)
		}
		if other, _ := b.request(b.keys["globex"], http.MethodGet, path, "", map[string]string{"If-None-Match": tag}); other.StatusCode != 200 || other.Header.Get("ETag") == tag {
			t.Errorf("another tenant: %d", other.StatusCode)
		}
	}
	path := "/api/v1/usage?by=day"
	before, _ := b.request(b.keys["acme"], http.MethodGet, path, "", nil)
	b.add("acme", b.clock.Now(), 1)
	if after, _ := b.request(b.keys["acme"], http.MethodGet, path, "", map[string]string{"If-None-Match": before.Header.Get("ETag")}); after.StatusCode != 200 {
		t.Errorf("after a change: %d", after.StatusCode)
	}
}

func TestPeriodsThatDoNotExistAreNamed(t *testing.T) {
	b := startBilled(t)
	const moments = ": want RFC 3339 (2026-11-01T00:00:00Z) or a date (2026-11-01) of 1970 to 9998"
	for query, want := range map[string]string{
		"from=2026-13-01":                          `from "2026-13-01"` + moments,
		"from=2026-02-30":                          `from "2026-02-30"` + moments,
		"from=0000-01-01":                          `from "0000-01-01"` + moments,
		"from=0001-01-01T00:00:00Z":                `from "0001-01-01T00:00:00Z"` + moments,
		"from=1969-12-31":                          `from "1969-12-31"` + moments,
		"to=9999-01-01":                            `to "9999-01-01"` + moments,
		"to=tomorrow":                              `to "tomorrow"` + moments,
		"as_of=2026-11-01T25:00:00Z":               `as_of "2026-11-01T25:00:00Z"` + moments,
		"from=2026-11-02&to=2026-11-01":            `to 2026-11-01T00:00:00Z is before from 2026-11-02T00:00:00Z`,
		"as_of=2990-01-01":                         `usage filter: as_of 2990-01-01T00:00:00Z is in the future`,
		"month=2026-13":                            `month "2026-13": want a month of 1970 to 9998, as 2026-10`,
		"month=0000-01":                            `month "0000-01": want a month of 1970 to 9998, as 2026-10`,
		"month=":                                   `month "": want a month of 1970 to 9998, as 2026-10`,
		"month=2026-10&from=2026-10-01":            `month is a period of its own: leave out from and to`,
		"zone=Mars/Base":                           `usage filter: zone "Mars/Base": want the name of an IANA time zone, for example Europe/Berlin`,
		"zone=":                                    `usage filter: zone "": want the name of an IANA time zone, for example Europe/Berlin`,
		"zone=Asia/Kolkata&from=2026-10-01&by=day": `usage filter: zone Asia/Kolkata: its clock is not full hours from UTC on 2026-10-01, and usage is kept by UTC hours`,
		"by=week":                                  `usage filter: by "week": want hour, day or month`,
		"group=colour":                             `group "colour": want signal, key or signal,key`,
		"descendants=yes":                          `descendants "yes": want true or false`,
		"format=xml":                               `format "xml": want json or csv`,
		"form=2026-10-01":                          `parameter "form": want one of tenant, descendants, from, to, month, zone, by, group, as_of, format, cursor, limit`,
		"from=2026-10-01&from=2026-10-02":          `parameter from is given twice`,
		"limit=0":                                  `limit "0": want 1 to 1000`,
		"cursor=zzz":                               `usage filter: the cursor does not belong to this question: begin without one`,
		"cursor=eyJzIjowLCJ0IjoiIn0":               `usage filter: the cursor does not belong to this question: begin without one`,
		"cursor=" + url.QueryEscape("\x00\xff"):    `usage filter: the cursor does not belong to this question: begin without one`,
		"from=" + url.QueryEscape("2026-10-01\x00\xff"): `from "2026-10-01\x00?"` + moments,
	} {
		status, text := b.call(b.keys["acme"], "GET", "/api/v1/usage?"+query, "")
		var p struct{ Code, Detail string }
		if err := json.Unmarshal([]byte(text), &p); err != nil || status != 400 || p.Code != "invalid-argument" || p.Detail != want {
			t.Errorf("%s: %d %s, want %s", query, status, text, want)
		}
	}
}

// SECURITY: a cursor that was given to one tenant tells another nothing, not even that it is one.
func TestCursorsAreOfNoUseToOthers(t *testing.T) {
	b := startBilled(t)
	_, nonsense := b.call(b.keys["globex"], "GET", "/api/v1/usage?limit=1&by=hour&cursor=zzz", "")
	mine := ok[metering.Usage](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage?limit=1&by=hour", "").Next
	if mine == "" {
		t.Fatal("no second page")
	}
	if status, text := b.call(b.keys["globex"], "GET", "/api/v1/usage?limit=1&by=hour&cursor="+mine, ""); status != 400 || text != nonsense {
		t.Errorf("%d %s, want 400 %s", status, text, nonsense)
	}
	if u := ok[metering.Usage](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage?limit=1&by=hour&cursor="+mine, ""); names(u.Rows) != "acme=100" || u.Next != "" {
		t.Errorf("the second page: %+v", u)
	}
}

func TestDaysOfAZone(t *testing.T) {
	b := startBilled(t)
	day := b.hour.Format(time.DateOnly)
	z, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	here := b.hour.In(z).Format(time.DateOnly)
	u := ok[metering.Usage](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage?zone=Asia/Tokyo&from="+here+"&to="+b.hour.In(z).AddDate(0, 0, 1).Format(time.DateOnly), "")
	if names(u.Rows) != "acme=1" || u.Rows[0].Start.Format(time.RFC3339) != here+"T00:00:00+09:00" {
		t.Errorf("%+v of %s UTC", u.Rows, day)
	}
}

func TestCorrectionsAreTheOperatorsAndAudited(t *testing.T) {
	b := startBilled(t)
	b.settle()
	at := b.hour.Format(time.RFC3339)
	body := func(more string) string {
		return `{"tenant":"acme","hour":"` + at + `","signal":"logs","key":"key-acme","reason":"agreed"` + more + `}`
	}
	admin := b.key("acme", "admin", "usage")
	b.refused(403, "forbidden", admin, "POST", "/api/v1/usage/corrections", body(`,"billed_bytes":-1`))
	b.refused(403, "key-scope", b.keys["acme"], "POST", "/api/v1/usage/corrections", body(`,"billed_bytes":-1`))
	c := ok[metering.Correction](b.server, 201, b.operator, "POST", "/api/v1/usage/corrections", body(`,"billed_bytes":-1,"id":"once"`))
	if c.Tenant != "acme" || c.BilledBytes != -1 || !c.Corrects.Equal(b.hour) || !c.Hour.After(b.hour) || c.State != metering.Open || c.ID != "once" {
		t.Errorf("%+v", c)
	}
	again := ok[metering.Correction](b.server, 201, b.operator, "POST", "/api/v1/usage/corrections", body(`,"billed_bytes":-1,"id":"once"`))
	if again != c {
		t.Errorf("again %+v, want %+v", again, c)
	}
	b.refused(409, "correction-taken", b.operator, "POST", "/api/v1/usage/corrections", body(`,"billed_bytes":1,"id":"once"`))
	b.refused(409, "correction-below-zero", b.operator, "POST", "/api/v1/usage/corrections", body(`,"billed_bytes":-1`))
	b.refused(400, "invalid-argument", b.operator, "POST", "/api/v1/usage/corrections", body(``))
	b.refused(400, "body-invalid", b.operator, "POST", "/api/v1/usage/corrections", body(`,"bytes":-1`))
	b.refused(404, "not-found", b.operator, "POST", "/api/v1/usage/corrections", strings.Replace(body(`,"records":1`), "acme", "nobody", 1))
	b.refused(400, "invalid-argument", b.operator, "POST", "/api/v1/usage/corrections", strings.Replace(body(`,"records":1`), ":00:00Z", ":30:00Z", 1))
	b.refused(400, "invalid-argument", b.operator, "POST", "/api/v1/usage/corrections", strings.Replace(body(`,"records":1`), "logs", "smoke", 1))

	list := ok[metering.Corrections](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage/corrections", "")
	if len(list.Corrections) != 1 || list.Corrections[0] != c {
		t.Errorf("acme reads %+v", list.Corrections)
	}
	if list := ok[metering.Corrections](b.server, 200, b.keys["globex"], "GET", "/api/v1/usage/corrections", ""); len(list.Corrections) != 0 {
		t.Errorf("globex reads %+v", list.Corrections)
	}
	audit := ok[AuditPage](b.server, 200, b.operator, "GET", "/api/v1/audit?tenant=acme", "")
	outcomes := map[string]int{}
	for _, e := range audit.Entries {
		if e.Action == "usage.correct" {
			outcomes[e.Outcome+" "+e.Actor[:3]]++
		}
		if e.Target == "once" && !strings.Contains(string(e.Detail), `"billed_bytes":-1`) {
			t.Errorf("audited %s", e.Detail)
		}
	}
	if outcomes["ok ope"] != 2 || outcomes["refused key"] != 1 || len(outcomes) != 2 {
		t.Errorf("audited %v", outcomes)
	}
}

func TestExportIsWhatItsManifestSays(t *testing.T) {
	b := startBilled(t)
	b.settle()
	b.add("acme-eu", b.hour, 1000) // late
	key := ok[ExportKeys](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage/export/key", "")
	public, err := base64.StdEncoding.DecodeString(key.PublicKey)
	if err != nil || key.Algorithm != "Ed25519" || len(key.Keys) != 1 {
		t.Fatal(key, err)
	}
	for _, format := range []string{"csv", "json", "focus", "cloudevents"} {
		period := "format=" + format + "&descendants=true&price_per_gib=0.5&currency=EUR&from=" + b.hour.Format(time.DateOnly) + "&to=" + b.clock.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
		resp, text := b.request(b.keys["acme"], http.MethodGet, "/api/v1/usage/export?"+period, "", nil)
		asOf := resp.Header.Get("Headgate-As-Of")
		if resp.StatusCode != 200 || asOf == "" || !strings.Contains(resp.Header.Get("Content-Disposition"), "attachment") {
			t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, text)
		}
		b.add("acme", b.clock.Now(), 1)
		m := ok[metering.Manifest](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage/export/manifest?"+period+"&as_of="+asOf, "")
		if err := m.Verify(ed25519.PublicKey(public)); err != nil || m.Rows != 4 || m.BilledBytes != 1+2+4+8 || m.Complete || m.Check(int64(len(text)), sha256.Sum256([]byte(text))) != nil {
			t.Errorf("%s: %+v, %v\n%s", format, m, err, text)
		}
		if strings.Contains(text, b.ids["globex"]) {
			t.Errorf("%s of acme tells of globex", format)
		}
	}
	_, text := b.request(b.keys["acme"], http.MethodGet, "/api/v1/usage/export?open=true&format=csv&descendants=true", "", nil)
	if n := strings.Count(text, "\n"); n != 1+4+4+1 || !strings.Contains(text, "received before the hour was sealed") {
		t.Errorf("with open hours:\n%s", text)
	}
	for query, want := range map[string]string{
		"format=xml":                 `usage filter: format "xml": want csv, json, focus or cloudevents`,
		"price_per_gib=-1":           `usage filter: price "-1": want a decimal number like 0.25, with at most 6 places`,
		"currency=euro":              `usage filter: currency "euro": want a code of three letters like EUR`,
		"open=1":                     `open "1": want true or false`,
		"open=true&as_of=2026-01-01": `usage filter: as_of is of sealed hours, open of others: choose one`,
		"cursor=x":                   `parameter "cursor": want one of tenant, descendants, from, to, month, zone, as_of, open, format, price_per_gib, currency, provider`,
	} {
		status, text := b.call(b.keys["acme"], "GET", "/api/v1/usage/export?"+query, "")
		if status != 400 || !strings.Contains(text, strings.Trim(mustJSON(want), `"`)) {
			t.Errorf("%s: %d %s, want %s", query, status, text, want)
		}
	}
	b.refused(400, "invalid-argument", b.keys["acme"], "GET", "/api/v1/usage/export/manifest?open=true", "")
	b.refused(404, "not-found", b.keys["acme"], "GET", "/api/v1/usage/export/key?id=none", "")
}

func mustJSON(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestChangesArePulledWithTheirCursor(t *testing.T) {
	b := startBilled(t)
	all := ok[metering.Changes](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage/changes?descendants=true", "")
	if len(all.Rows) != 8 || all.More || all.Next == "" {
		t.Fatalf("%+v", all)
	}
	if none := ok[metering.Changes](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage/changes?descendants=true&cursor="+all.Next, ""); len(none.Rows) != 0 || none.Next == "" {
		t.Errorf("%+v", none)
	}
	b.add("acme-us", b.hour, 1)
	b.add("globex", b.hour, 1)
	news := ok[metering.Changes](b.server, 200, b.keys["acme"], "GET", "/api/v1/usage/changes?descendants=true&cursor="+all.Next, "")
	if len(news.Rows) != 1 || news.Rows[0].Tenant != "acme-us" {
		t.Errorf("%+v", news)
	}
	b.refused(400, "invalid-argument", b.keys["globex"], "GET", "/api/v1/usage/changes?descendants=true&cursor="+all.Next, "")
	b.refused(400, "invalid-argument", b.keys["acme"], "GET", "/api/v1/usage/changes?cursor="+all.Next, "")
	b.refused(400, "invalid-argument", b.keys["acme"], "GET", "/api/v1/usage/changes?from=2026-10-01", "")
}

func TestReplicasAreTheOperators(t *testing.T) {
	b := startBilled(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	gone := metering.NewLedger(b.db, metering.LedgerOptions{Now: b.clock.Now, Replica: metering.ReplicaOptions{Log: "log/7", Address: "a:1"},
		Pending: func() (time.Time, bool) { return b.hour, true }})
	if err := gone.Run(ctx); err != nil {
		t.Fatal(err)
	}
	list := ok[Replicas](b.server, 200, b.operator, "GET", "/api/v1/usage/replicas", "")
	if len(list.Replicas) != 1 || list.Replicas[0].Log != "log/7" || !list.Replicas[0].OldestPending.Equal(b.hour) {
		t.Errorf("%+v", list)
	}
	admin := b.key("acme", "admin")
	b.refused(403, "forbidden", admin, "GET", "/api/v1/usage/replicas", "")
	b.refused(403, "forbidden", admin, "DELETE", "/api/v1/usage/replicas/log%2F7", "")
	b.refused(404, "not-found", b.operator, "DELETE", "/api/v1/usage/replicas/log%2F8", "")
	if status, text := b.call(b.operator, "DELETE", "/api/v1/usage/replicas/log%2F7", ""); status != 204 {
		t.Errorf("%d %s", status, text)
	}
	if list := ok[Replicas](b.server, 200, b.operator, "GET", "/api/v1/usage/replicas", ""); len(list.Replicas) != 0 {
		t.Errorf("%+v", list)
	}
	if audit := ok[AuditPage](b.server, 200, b.operator, "GET", "/api/v1/audit", ""); audit.Entries[0].Action != "usage.replica.forget" || audit.Entries[0].Target != "log/7" {
		t.Errorf("%+v", audit.Entries[0])
	}
}
