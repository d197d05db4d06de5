package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

func TestLimitsAreReadFromFlags(t *testing.T) {
	for text, want := range map[string]limitEdit{
		"bytes-per-second=5MiB/20MiB":       {Bound: tenant.Bound{Kind: tenant.BytesPerSecond, Max: 5 << 20, Burst: 20 << 20}},
		"bytes-per-second:metrics=1.5KB":    {Bound: tenant.Bound{Kind: tenant.BytesPerSecond, Signal: "metrics", Max: 1500}},
		"daily-bytes:logs=10GiB":            {Bound: tenant.Bound{Kind: tenant.DailyBytes, Signal: "logs", Max: 10 << 30}},
		"requests-per-second=100/500":       {Bound: tenant.Bound{Kind: tenant.RequestsPerSecond, Max: 100, Burst: 500}},
		"records-per-request=0":             {Bound: tenant.Bound{Kind: tenant.RecordsPerRequest}},
		"in-flight-requests:profiles=20":    {Bound: tenant.Bound{Kind: tenant.InFlightRequests, Signal: "profiles", Max: 20}},
		"storage-bytes=1TiB":                {Bound: tenant.Bound{Kind: tenant.StorageBytes, Max: 1 << 40}},
		"requests-per-second=none":          {Bound: tenant.Bound{Kind: tenant.RequestsPerSecond}, remove: true},
		"requests-per-second:logs=none":     {Bound: tenant.Bound{Kind: tenant.RequestsPerSecond, Signal: "logs"}, remove: true},
		"requests-per-second=1000000000000": {Bound: tenant.Bound{Kind: tenant.RequestsPerSecond, Max: 1e12}},
	} {
		if got, err := parseLimit(text); err != nil || got != want {
			t.Errorf("parseLimit(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	const form = ": want KIND=MAX, for example requests-per-second=100, bytes-per-second=5MiB/20MiB, daily-bytes:logs=10GiB or requests-per-second=none"
	const kinds = ": want daily-bytes, bytes-per-second, requests-per-second, records-per-request, in-flight-requests or storage-bytes"
	for text, want := range map[string]string{
		"":                                          `""` + form,
		"requests-per-second":                       `"requests-per-second"` + form,
		"requests-per-second=":                      `"requests-per-second="` + form,
		"=5":                                        `"=5"` + form,
		"requests=5":                                `limit "requests"` + kinds,
		"requests=none":                             `limit "requests"` + kinds,
		"daily-bytes=10GiB":                         `"daily-bytes=10GiB": the daily bytes of all signals are --daily-bytes 10GiB; those of one are --limit daily-bytes:logs=10GiB`,
		"requests-per-second:log=5":                 `limit requests-per-second of signal "log": want logs, traces, metrics or profiles`,
		"storage-bytes:logs=5":                      `limit storage-bytes:logs: it is of all signals together`,
		"requests-per-second=-1":                    `limit requests-per-second of -1: want 0 to 1152921504606846976`,
		"requests-per-second=5MiB":                  `requests-per-second: "5MiB" is not a whole number; want for example 100`,
		"requests-per-second=1.5":                   `requests-per-second: "1.5" is not a whole number; want for example 100`,
		"bytes-per-second=lots":                     `bytes-per-second: "lots" is not a number of bytes; want for example 1048576, 64KiB, 10GiB or 5GB`,
		"bytes-per-second=-5":                       `bytes-per-second: "-5" is not a number of bytes; want for example 1048576, 64KiB, 10GiB or 5GB`,
		"bytes-per-second=5/":                       `burst of bytes-per-second: "" is not a number of bytes; want for example 1048576, 64KiB, 10GiB or 5GB`,
		"bytes-per-second=4096PiB":                  `limit bytes-per-second of 4611686018427387904: want 0 to 1152921504606846976`,
		"in-flight-requests=5/10":                   `limit in-flight-requests: only rates have a burst`,
		"daily-bytes:logs=10GiB/20GiB":              `limit daily-bytes:logs: only rates have a burst`,
		"requests-per-second=999999999999999999999": `requests-per-second: "999999999999999999999" is not a whole number; want for example 100`,
	} {
		if _, err := parseLimit(text); err == nil || err.Error() != want {
			t.Errorf("parseLimit(%q): %v, want %s", text, err, want)
		}
	}
}

func TestLimitFlagsChangeTheList(t *testing.T) {
	now := []control.Limit{{Limit: "requests-per-second", Max: 5}, {Limit: "requests-per-second", Signal: "logs", Max: 3}}
	for _, c := range []struct {
		flags string
		want  []control.Limit
	}{
		{"requests-per-second=7/9", []control.Limit{now[1], {Limit: "requests-per-second", Max: 7, Burst: 9}}},
		{"requests-per-second=none", now[1:]},
		{"storage-bytes=none", now},
		{"none", []control.Limit{}},
		{"none storage-bytes=1", []control.Limit{{Limit: "storage-bytes", Max: 1}}},
		{"storage-bytes=1 none", []control.Limit{{Limit: "storage-bytes", Max: 1}}},
	} {
		var f limitFlags
		for _, text := range strings.Fields(c.flags) {
			if err := f.Set(text); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.change(now); !f.given() || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.flags, got, c.want)
		}
	}
	f := limitFlags{}
	if f.given() {
		t.Error("no flag is one")
	}
	if err := f.Set("requests-per-second=1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Set("requests-per-second=none"); err == nil || err.Error() != "requests-per-second is given twice" {
		t.Errorf("twice: %v", err)
	}
}

func TestLimitsTableShowsUse(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	end := now.Add(90 * time.Minute)
	var out strings.Builder
	stateTable([]metering.LimitState{
		{ID: "limit-daily-bytes-key", Limit: 1000, Used: 1, Remaining: 999, Reset: now.Add(12 * time.Hour)},
		{ID: "limit-daily-bytes", Signal: "logs", Limit: 2000, Used: 3000, Reset: now.Add(12 * time.Hour), PerSecond: 5, ExhaustedAt: &end},
		{ID: "limit-daily-bytes", Limit: 0, Reset: now.Add(12 * time.Hour)},
		{ID: "limit-requests-per-second", Limit: 10, Burst: 40, Used: 10, Remaining: 30, Reset: now.Add(time.Second)},
		{ID: "limit-bytes-per-second", Limit: 100, Remaining: 100, Reset: now},
		{ID: "limit-records-per-request", Limit: 50, Remaining: 50, Reset: now},
		{ID: "limit-storage-bytes", Limit: 4000, Used: 2000, Remaining: 2000, Reset: now},
	}, now).print(&out)
	const want = `LIMIT                OF      SIGNAL    MAX  BURST   USED    %                 LEFT  RESETS (UTC)         USED UP AT (UTC)
daily-bytes          key     all     1 000      -      1    0  [#.........]    999  2026-03-02 00:00     -
daily-bytes          tenant  logs    2 000      -  3 000  150  [##########]      0  2026-03-02 00:00     2026-03-01 13:30
daily-bytes          tenant  all         0      -      0  100  [##########]      0  2026-03-02 00:00     -
requests-per-second  tenant  all        10     40     10   25  [###.......]     30  2026-03-01 12:00:01  -
bytes-per-second     tenant  all       100    100      0    0  [..........]    100  -                    -
records-per-request  tenant  all        50      -      -    -                    -  -                    -
storage-bytes        tenant  all     4 000      -  2 000   50  [#####.....]  2 000  -                    -
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

// export sends one log record over gRPC and returns what refuses it.
func (p *process) export(conn *grpc.ClientConn, key, text string) *status.Status {
	p.t.Helper()
	req := plogotlp.NewExportRequest()
	if err := req.UnmarshalJSON([]byte(record(text))); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(p.t.Context(), "authorization", "Bearer "+key), 30*time.Second)
	defer cancel()
	_, err := plogotlp.NewGRPCClient(conn).Export(ctx, req)
	return status.Convert(err)
}

func reasonOf(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// TestLimitsOfEveryKindRefuseRequests sets each kind by the command line and meets it over HTTP and gRPC.
func TestLimitsOfEveryKindRefuseRequests(t *testing.T) {
	dir := t.TempDir()
	p := serveOn(t, dir)
	conn, err := grpc.NewClient(p.addr.OTLPGRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := 0
	for _, c := range []struct {
		limit, id string
		status    int
		passes    bool // one request does
	}{
		{"bytes-per-second=1", "limit-bytes-per-second", 429, true},
		{"requests-per-second=0", "limit-requests-per-second", 429, false},
		{"records-per-request=0", "limit-records-per-request", 413, false},
		{"in-flight-requests=0", "limit-in-flight-requests", 429, false},
		{"daily-bytes:logs=400", "limit-daily-bytes", 429, true},
		{"storage-bytes=0", "limit-storage-bytes", 429, false},
	} {
		for _, of := range []string{"tenant", "key", "parent"} {
			if of == "key" && strings.HasPrefix(c.limit, "storage") {
				continue
			}
			n++
			name := fmt.Sprint("t", n)
			p.cli("tenant", "create", name+"-top")
			p.cli("tenant", "create", name, "--parent", name+"-top")
			key := p.key(name, "ingest")
			p.mustPost("/v1/logs", key, record("before"))
			id := c.id
			switch of {
			case "tenant":
				p.cli("tenant", "set", name, "--limit", c.limit)
			case "key":
				id += "-key"
				p.cli("key", "set", key, "--limit", c.limit)
			case "parent":
				id += "-parent"
				p.cli("tenant", "set", name+"-top", "--limit", c.limit)
			}
			if c.passes {
				if code, text, err := p.post(t.Context(), "/v1/logs", "application/json", key, []byte(record(strings.Repeat("x", 250)))); err != nil || code != 200 {
					t.Errorf("%s of the %s, the first: %d %s %v", c.limit, of, code, text, err)
				}
			}
			code, text, err := p.post(t.Context(), "/v1/logs", "application/json", key, []byte(record("http")))
			if err != nil || code != c.status || !strings.Contains(text, "("+id+")") {
				t.Errorf("%s of the %s: %d %s %v, want %d %s", c.limit, of, code, text, err, c.status, id)
			}
			if st := p.export(conn, key, "grpc"); st.Code() != codes.ResourceExhausted || reasonOf(st) != id {
				t.Errorf("%s of the %s over gRPC: %v, want %s", c.limit, of, st, id)
			}
			// Without it requests pass again.
			kind, _, _ := strings.Cut(c.limit, "=")
			switch of {
			case "tenant":
				p.cli("tenant", "set", name, "--limit", kind+"=none")
			case "key":
				p.cli("key", "set", key, "--limit", "none")
			case "parent":
				p.cli("tenant", "set", name+"-top", "--limit", kind+"=none")
			}
			p.mustPost("/v1/logs", key, record("after"))
		}
	}

	// A request that is still being sent is in flight.
	p.cli("tenant", "create", "slow", "--limit", "in-flight-requests=1")
	slow := p.key("slow", "ingest")
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr.OTLPHTTP+"/v1/logs", reader)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+slow)
			req.Header.Set("Content-Type", "application/json")
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				defer resp.Body.Close()
				if resp.StatusCode != 200 {
					err = fmt.Errorf("status %s", resp.Status)
				}
			}
		}
		ended <- err
	}()
	body := record("slow")
	if _, err := io.WriteString(writer, body[:10]); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "the request to be in flight", func() bool {
		return unmarshal[control.Limits](t, p.cli("limits", "--key", slow, "--json")).Limits[0].Used == 1
	})
	if code, text, err := p.post(t.Context(), "/v1/logs", "application/json", slow, []byte(record("second"))); err != nil || code != 429 || !strings.Contains(text, "(limit-in-flight-requests)") {
		t.Errorf("beside a request in flight: %d %s %v", code, text, err)
	}
	if _, err := io.WriteString(writer, body[10:]); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if err := <-ended; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	p.mustPost("/v1/logs", slow, record("alone again"))

	// What is kept is measured at a start.
	p.flushed()
	p.cli("tenant", "set", "slow", "--limit", "storage-bytes=1")
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p = serveOn(t, dir)
	timetest.Eventually(t, "stored bytes to be known", func() bool {
		n := unmarshal[control.Tenant](t, p.cli("tenant", "show", "slow", "--json")).StorageBytes
		return n != nil && *n > 1
	})
	code, text, err := p.post(t.Context(), "/v1/logs", "application/json", slow, []byte(record("too much")))
	if err != nil || code != 429 || !strings.Contains(text, "of 1 are kept; delete data or wait for it to expire (limit-storage-bytes)") {
		t.Errorf("beyond what may be kept: %d %s %v", code, text, err)
	}
	timetest.Eventually(t, "its event", func() bool {
		status, text := p.call(http.MethodGet, "/api/v1/alerts")
		return status == 200 && strings.Contains(text, "limit.storage")
	})
}

// call asks the API as the operator.
func (p *process) call(method, path string) (int, string) {
	p.t.Helper()
	f := clientFlags{dataDir: p.dir, secretsDir: p.secrets}
	c, err := f.open()
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := c.send(p.t.Context(), method, path, nil, nil)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw)
}

// TestLimitsOnTheCommandLine follows docs/limits.md.
func TestLimitsOnTheCommandLine(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme", "--daily-bytes", "10GiB", "--limit", "bytes-per-second=5MiB/20MiB", "--limit", "requests-per-second=100", "--time-zone", "Asia/Kolkata")
	_, note, err := p.try("tenant", "create", "acme-dev", "--parent", "acme", "--daily-bytes", "20GiB", "--limit", "requests-per-second=500", "--limit", "records-per-request=5")
	if err != nil || note != `note: the daily limit of 20GiB for acme-dev is above that of acme (10GiB), which holds
note: requests-per-second of 500 for acme-dev is above that of acme (100), which holds
` {
		t.Errorf("the note: %v\n%s", err, note)
	}
	if out := p.cli("tenant", "show", "acme-dev"); !strings.Contains(out, `
LIMIT                SIGNAL    MAX  BURST  HELD LOWER BY
daily-bytes          all     20GiB      -  acme: 10GiB
records-per-request  all         5      -  -
requests-per-second  all       500      -  acme: 100

a day begins at midnight in UTC`) {
		t.Errorf("show printed\n%s", out)
	}
	if out := p.cli("tenant", "show", "acme"); !strings.Contains(out, "bytes-per-second     all      5MiB  20MiB  -") || !strings.Contains(out, "midnight in Asia/Kolkata") {
		t.Errorf("show printed\n%s", out)
	}
	key := p.key("acme", "ingest")
	if out := p.cli("key", "set", key, "--daily-bytes", "1GiB", "--limit", "in-flight-requests=3"); !strings.Contains(out, "1GiB") || !strings.Contains(out, "in-flight-requests") {
		t.Errorf("key set printed\n%s", out)
	}
	limits := p.cli("limits", "--key", key)
	day, err := tenant.LoadZone("Asia/Kolkata")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"in-flight-requests   key", "1 073 741 824", "10 737 418 240", "[..........]", "18:30"} {
		if !strings.Contains(limits, want) {
			t.Errorf("limits printed without %s\n%s", want, limits)
		}
	}
	before := day.Day(timeNow()).End // the day there ends within an hour of UTC, and that may be now
	states := unmarshal[control.Limits](t, p.cli("limits", "--key", key, "--json")).Limits
	if got, want := states[0].Reset.Unix(), day.Day(timeNow()).End; got != before && got != want {
		t.Errorf("the day resets %v, want %v", states[0].Reset, time.Unix(want, 0))
	}
	for _, c := range []struct{ args, want string }{
		{"tenant set acme", "nothing to set: give at least one of --daily-bytes, --limit, --time-zone,"},
		{"tenant set acme --limit daily-bytes=5", "the daily bytes of all signals are --daily-bytes 5"},
		{"tenant set acme --limit requests-per-second", `"requests-per-second": want KIND=MAX, for example`},
		{"tenant set acme --time-zone Mars/Olympus", "want a name such as Europe/Berlin or an offset such as +05:30 (invalid-argument)"},
		{"key set " + key, "nothing to set: give at least one of --daily-bytes, --limit"},
		{"key set " + key + " --limit storage-bytes=5", "limit storage-bytes of a key: what is kept is a tenant's (invalid-argument)"},
		{"key set nosuch --limit none", "no key"},
	} {
		if _, text, err := p.try(strings.Fields(c.args)...); err == nil || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v\n%s\nwant %s", c.args, err, text, c.want)
		}
	}
}

// TestLimitsThatAreSetAtOnceAreAllSet: each command changes its own limit of what others change at the same time.
func TestLimitsThatAreSetAtOnceAreAllSet(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest")
	kinds := []string{"requests-per-second", "requests-per-second:logs", "requests-per-second:traces", "in-flight-requests", "records-per-request", "bytes-per-second"}
	for _, args := range [][]string{{"tenant", "set", "acme"}, {"key", "set", key}} {
		var wg sync.WaitGroup
		for _, kind := range kinds {
			wg.Go(func() {
				if _, text, err := p.try(append(args[:len(args):len(args)], "--limit", kind+"=7000")...); err != nil {
					t.Errorf("%s of %s: %v\n%s", kind, args[0], err, text)
				}
			})
		}
		wg.Wait()
	}
	owner := unmarshal[control.Tenant](t, p.cli("tenant", "show", "acme", "--json"))
	if len(owner.Limits) != len(kinds) {
		t.Errorf("the tenant has %d limits of %d: %+v", len(owner.Limits), len(kinds), owner.Limits)
	}
	if keys := unmarshal[struct{ Keys []control.Key }](t, p.cli("key", "list", "--json")).Keys; len(keys) != 1 || len(keys[0].Limits) != len(kinds) {
		t.Errorf("the key has not all %d limits: %+v", len(kinds), keys)
	}
}

// TestLimitsReachOtherReplicas changes a limit at one process and meets it at another; how soon, revocation_test measures.
func TestLimitsReachOtherReplicas(t *testing.T) {
	r := newReplicas(t)
	a, b := r.serve(), r.serve()
	a.cli("tenant", "create", "acme")
	key := a.key("acme", "ingest")
	sent := 0
	send := func(want int) func() bool {
		return func() bool {
			sent++
			status, _, err := b.post(t.Context(), "/v1/logs", "application/json", key, []byte(record(fmt.Sprint(sent))))
			return err == nil && status == want
		}
	}
	timetest.Eventually(t, "the key", send(200))
	for _, c := range []struct {
		limit string
		want  int
	}{{"records-per-request=0", 413}, {"records-per-request=none", 200}, {"requests-per-second=0", 429}} {
		a.cli("tenant", "set", "acme", "--limit", c.limit)
		timetest.Eventually(t, c.limit, send(c.want))
	}
}
