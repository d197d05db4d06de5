package query

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// TestStatsTellOfOwnRowsOnly: what a query took is the same beside another tenant's rows but for the times, in each format,
// and only where it is asked for.
func TestStatsTellOfOwnRowsOnly(t *testing.T) {
	alone, shared := newStore(t), newStore(t)
	alone.fill(false)
	shared.fill(true)
	ask := func(s *store, f Format) Stats {
		t.Helper()
		body, err := json.Marshal(ranged("logs | project body", map[string]any{"format": f, "stats": true}))
		if err != nil {
			t.Fatal(err)
		}
		srv := s.serve(chtest.Scope(t, "a"))
		resp, text := asktest.Do(t, http.MethodPost, srv.URL, string(body), nil)
		var out, member struct{ Stats Stats }
		if err := json.Unmarshal([]byte(resp.Trailer.Get(StatsTrailer)), &out.Stats); err != nil {
			t.Fatalf("%s: trailer %q: %v", f, resp.Trailer, err)
		}
		if f == FormatJSON {
			if err := json.Unmarshal([]byte(text), &member); err != nil || member.Stats.Rows != 60 || member.Stats.Elapsed <= 0 {
				t.Errorf("%v, %+v in %s", err, member, text)
			}
		}
		return out.Stats
	}
	for _, f := range []Format{FormatJSON, FormatNDJSON, FormatCSV, FormatParquet, FormatArrow} {
		a, b := ask(alone, f), ask(shared, f)
		if a.Elapsed <= 0 || a.Queued < 0 || a.Queued > a.Elapsed || a.Cached || a.Age != 0 || a.Bytes == 0 || f.encoding() == Rows && a.Rows != 60 {
			t.Errorf("%s: %+v", f, a)
		}
		a.Elapsed, a.Queued, b.Elapsed, b.Queued = 0, 0, 0, 0
		if a != b {
			t.Errorf("%s: alone %+v, shared %+v", f, a, b)
		}
	}
	if got := post(t, alone.serve(chtest.Scope(t, "a")), ranged("logs | count", nil)); strings.Contains(got.body+got.header, "elapsed") {
		t.Errorf("not asked for: %+v", got)
	}
}

// TestSlowQueriesAreLoggedWithoutValues: what was looked for is in no log.
func TestSlowQueriesAreLoggedWithoutValues(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	var log bytes.Buffer
	ask := func(slow time.Duration) string {
		log.Reset()
		s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{Slow: slow, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		post(t, s.serve(chtest.Scope(t, "a")), ranged(`logs | where body ~ "secret word" or attr["secret key"] == "x" | extend secret_name = 1`, nil))
		return log.String()
	}
	line := ask(time.Nanosecond)
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil || got["msg"] != "slow query" || got["rows"] != 0.0 || got["outcome"] != "ok" || got["payer"] != "a" || !strings.Contains(line, "PREWHERE") {
		t.Errorf("%v: %s", err, line)
	}
	if strings.Contains(line, "secret") || strings.Contains(line, canary) {
		t.Errorf("a value is in %s", line)
	}
	if line := ask(time.Hour); line != "" {
		t.Errorf("not slow: %s", line)
	}
	if line := ask(0); line != "" {
		t.Errorf("switched off: %s", line)
	}
}

// TestTierIsOfThePayer: the operator's limits hold for the tenant that pays, also where a part of its scope is read.
func TestTierIsOfThePayer(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{
		Tiers: map[string]Limits{"small": {MaxGroups: 10}},
		Tier:  func(payer tenant.ID) string { return map[string]string{"a": "small", "c": "gone"}[payer.String()] },
	})
	small, other := chtest.Scope(t, "a"), chtest.Scope(t, "b")
	for _, c := range []struct {
		scope  tenant.Scope
		status int
	}{
		{small, 422}, {other, 200}, {small.PaidBy(other.Payer()), 200}, {other.PaidBy(small.Payer()), 422}, {chtest.Scope(t, "c"), 200},
		{chtest.Scope(t, "b", "c").PaidBy(small.Payer()), 422},
	} {
		if got := post(t, s.serve(c.scope), ranged("logs | summarize count() by body", nil)); got.status != c.status {
			t.Errorf("%v paid by %v: %d %s, want %d", c.scope.Strings(), c.scope.Payer(), got.status, got.body, c.status)
		}
	}
}
