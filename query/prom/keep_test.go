package prom

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/query"
)

// keeping is a database with a reader that keeps answers.
func keeping(t *testing.T) *database {
	d := newDatabase(t)
	d.reader = query.NewReader(chtest.Start(t).OpenReader(t, d.name), query.ReaderOptions{CacheBytes: 32 << 20, Limits: patience})
	return d
}

// up is a series of a tenant at noon.
func up(tenant, instance string) sent {
	return sent{
		metric: metric{name: "up", kind: kindGauge}, resource: resource{tenant: tenant}, nanos: noon.Add(-5 * time.Minute).UnixNano(), value: 1,
		attributes: map[string]string{"i": instance},
	}
}

// counted asks how many series there are and returns the number, as text, and whether the answer was kept.
func counted(t *testing.T, srv *httptest.Server, path string, params url.Values) (n string, aged bool) {
	t.Helper()
	params.Set("query", "count(up)")
	got := ask(t, srv, http.MethodGet, path, params)
	if got.status != http.StatusOK {
		t.Fatalf("%s %v = %v", path, params, got)
	}
	m := countRe.FindStringSubmatch(got.body)
	if m == nil {
		t.Fatalf("%s %v = %v", path, params, got)
	}
	return m[1], strings.Contains(got.header, "Age:")
}

var countRe = regexp.MustCompile(`"(\d+)"\]`)

// TestPromQLIsKeptForItsTenants: an answer is given again to who takes one of its age and asks for the same tenants, and to nobody else.
func TestPromQLIsKeptForItsTenants(t *testing.T) {
	d := keeping(t)
	a, b, both := d.serve(t, Options{}, "a"), d.serve(t, Options{}, "b"), d.serve(t, Options{}, "a", "b")
	d.send(up("a", "1"), up("b", "1"), up("b", "2"))
	for path, when := range map[string]url.Values{
		"/api/v1/query":       {"time": {fmt.Sprint(noon.Add(-4 * time.Minute).Unix())}},
		"/api/v1/query_range": {"start": {fmt.Sprint(noon.Add(-4 * time.Minute).Unix())}, "end": {fmt.Sprint(noon.Add(-4 * time.Minute).Unix())}, "step": {"60"}},
	} {
		with := func(age string) url.Values {
			out := url.Values{}
			for k, v := range when {
				out[k] = v
			}
			if age != "" {
				out.Set("max_age", age)
			}
			return out
		}
		more := up("a", path)
		if n, aged := counted(t, a, path, with("1m")); aged {
			t.Errorf("%s: first %s was kept", path, n)
		}
		before, _ := counted(t, a, path, with("0s"))
		d.send(more)
		if n, aged := counted(t, a, path, with("1m")); n != before || !aged {
			t.Errorf("%s: again %s, aged %v, want the kept %s", path, n, aged, before)
		}
		for name, age := range map[string]string{"not asked for": "", "refused": "0s"} {
			if n, aged := counted(t, a, path, with(age)); n == before || aged {
				t.Errorf("%s: %s: %s, aged %v", path, name, n, aged)
			}
		}
		if n, aged := counted(t, b, path, with("1m")); n != "2" || aged {
			t.Errorf("%s: of another tenant: %s, aged %v", path, n, aged)
		}
		if n, aged := counted(t, both, path, with("1m")); n == before || n == "2" || aged {
			t.Errorf("%s: of both tenants: %s, aged %v", path, n, aged)
		}
		if got := ask(t, a, http.MethodGet, path, with("2m")); got.status != http.StatusBadRequest || !strings.Contains(got.body, "max_age") {
			t.Errorf("%s: max_age of 2m = %v", path, got)
		}
	}
}

// TestSettledPromQLIsKeptUnasked: without max_age only times that ended a minute ago, of expressions that look at nothing later.
func TestSettledPromQLIsKeptUnasked(t *testing.T) {
	d := keeping(t)
	srv := d.serve(t, Options{MaxAge: time.Minute}, "a")
	d.send(up("a", "1"))
	for _, c := range []struct {
		query, time string
		kept        bool
	}{
		{"up", fmt.Sprint(noon.Add(-time.Minute).Unix()), true},
		{"up", fmt.Sprint(noon.Add(-59 * time.Second).Unix()), false},
		{"up", "", false},
		{"up offset -5m", fmt.Sprint(noon.Add(-2 * time.Minute).Unix()), false},
		{"up @ 1741089600", fmt.Sprint(noon.Add(-2 * time.Minute).Unix()), false},
		{"max_over_time(up[5m:1m] offset -1m)", fmt.Sprint(noon.Add(-2 * time.Minute).Unix()), false},
		{"up offset 1m", fmt.Sprint(noon.Add(-2 * time.Minute).Unix()), true},
	} {
		params := url.Values{"query": {c.query}}
		if c.time != "" {
			params.Set("time", c.time)
		}
		ask(t, srv, http.MethodGet, "/api/v1/query", params)
		if got := ask(t, srv, http.MethodGet, "/api/v1/query", params); strings.Contains(got.header, "Age:") != c.kept || got.status != http.StatusOK {
			t.Errorf("%s at %s: %v, want kept %v", c.query, c.time, got, c.kept)
		}
	}
}

// TestPanelsInPromQLAreKept: a question is kept under its text and the values of its variables, and counts its times from a moment that
// questions at about the same time share.
func TestPanelsInPromQLAreKept(t *testing.T) {
	d := keeping(t)
	now := noon.Add(13 * time.Second)
	h := NewHandler(d.reader, Options{Now: func() time.Time { return now }})
	srv := httptest.NewServer(h.Questions(query.Caller{Scope: chtest.Scope(t, "a")}))
	defer srv.Close()
	d.send(up("a", "1"), up("a", "2"))
	panel := func(i, more string) (string, bool) {
		body := `{"query":"count(up{i=~$i})","variables":{"i":{"type":"string","value":"` + i + `"}},"start":"-10m","end":"-4m","step":"1m"` + more + `}`
		resp, text := asktest.Do(t, http.MethodPost, srv.URL, body, http.Header{"Content-Type": {"application/json"}})
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", resp.StatusCode, text)
		}
		return text, resp.Header.Get("Age") != ""
	}
	first, aged := panel("1", `,"max_age":"30s"`)
	if aged || !strings.Contains(first, `"1"`) {
		t.Errorf("first: %s, aged %v", first, aged)
	}
	now = now.Add(10 * time.Second)
	if again, aged := panel("1", `,"max_age":"30s"`); again != first || !aged {
		t.Errorf("again: %s, aged %v", again, aged)
	}
	if other, aged := panel("1|2", `,"max_age":"30s"`); aged || !strings.Contains(other, `"2"`) {
		t.Errorf("another value: %s, aged %v", other, aged)
	}
	if own, aged := panel("1", ""); aged {
		t.Errorf("not asked for: %s", own)
	}
}

// TestLongAndFailedAnswersKeepNobodyWaiting: each is landed, as nothing to keep, and written as it is.
func TestLongAndFailedAnswersKeepNobodyWaiting(t *testing.T) {
	var landed [][]byte
	w := httptest.NewRecorder()
	k := &keeper{w: w, land: func(b []byte) { landed = append(landed, b) }}
	half := bytes.Repeat([]byte("x"), query.MaxKept/2+1)
	for range 3 {
		if _, err := k.Write(half); err != nil {
			t.Fatal(err)
		}
	}
	k.end()
	if len(landed) != 1 || landed[0] != nil || w.Body.Len() != 3*len(half) {
		t.Errorf("landed %d times, wrote %d", len(landed), w.Body.Len())
	}

	d := keeping(t)
	h := NewHandler(d.reader, Options{})
	for range 2 { // the second would wait for the first for ever
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Form = url.Values{"time": {"1"}, "max_age": {"1m"}}
		_, err := kept("time", func(*request) (answer, error) { return answer{}, errors.New("x") })(&request{Request: r, handler: h, parser: h.parser, scope: chtest.Scope(t, "a")})
		if err == nil || err.Error() != "x" {
			t.Errorf("failure = %v", err)
		}
	}
}
