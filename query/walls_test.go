package query

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/storage/policy"
)

// guardedStore is newStore on an engine with the row policies of storage/policy. Its reader has the capability of each
// statement's scope, unless settings say otherwise.
func guardedStore(t testing.TB, settings func(policy.Key, tenant.Scope) string) *store {
	t.Helper()
	key := policy.NewKey()
	const name = "headgate"
	engine := chtest.StartGuarded(t, name, key)
	boot := &store{t: t, writer: engine.Open(t, "")}
	boot.exec("CREATE DATABASE " + name)
	s := &store{t: t, name: name, writer: engine.Open(t, name)}
	if settings == nil {
		settings = policy.Key.Tenants
	}
	s.reader = NewReader(engine.OpenReader(t, name), ReaderOptions{
		Limits: Limits{MaxThreads: 1}, Settings: func(scope tenant.Scope) map[string]any {
			return map[string]any{string(policy.EngineCarrier): settings(key, scope)}
		},
	})
	s.migrate()
	return s
}

var tenantCondition = regexp.MustCompile(`TenantId IN \{p1:Array\(String\)\} AND `)

// without takes the tenant's condition out of a statement, as if the printer had forgotten it.
func without(t testing.TB, st Stmt) Stmt {
	t.Helper()
	sql := tenantCondition.ReplaceAllString(st.sql, "")
	if sql == st.sql {
		t.Fatalf("no tenant's condition to take out of %s", st.sql)
	}
	st.sql = sql
	return st
}

// lines is the result of a statement as the engine writes it, or the code of its failure.
func (s *store) lines(st Stmt) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), asktest.Patience)
	defer cancel()
	res, err := s.reader.Run(ctx, st, Rows)
	if err != nil {
		return strings.SplitN(err.Error(), ":", 2)[0]
	}
	defer res.Close()
	var out bytes.Buffer
	for {
		values, err := res.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			return strings.SplitN(err.Error(), ":", 2)[0]
		}
		out.Write(bytes.Join(values, []byte("\t")))
		out.WriteByte('\n')
	}
}

func statementOf(t testing.TB, text string, scope tenant.Scope) (Stmt, bool) {
	t.Helper()
	p, err := oql.Parse(text)
	if err != nil {
		return Stmt{}, false
	}
	st, err := Print(p, scope, hour())
	if err != nil {
		t.Fatal(err)
	}
	return st, true
}

// TestPoliciesHoldWithoutThePrinter takes the first walls away: every fourth statement of the generated set runs without its tenant's
// condition, beside another tenant's rows in the same parts. The policies alone keep the answers those of a store that has one
// tenant only.
func TestPoliciesHoldWithoutThePrinter(t *testing.T) {
	alone, shared := newStore(t).patient(), guardedStore(t, nil).patient()
	alone.fill(false)
	shared.fill(true)
	scope := chtest.Scope(t, "a")
	var ran, said atomic.Int64
	n := generated(t) / 4
	asktest.Each(t, n, func(t *testing.T, seed uint64) {
		text := generate(4 * seed)
		st, ok := statementOf(t, text, scope)
		if !ok {
			return
		}
		want, got := alone.lines(st), shared.lines(without(t, st))
		if want != got {
			t.Errorf("%s\n alone: %.500s\nshared: %.500s", text, want, got)
		}
		if strings.Contains(got, canary) && !strings.Contains(text, canary) {
			t.Errorf("%s\ncanary in %.500s", text, got)
		}
		ran.Add(1)
		if strings.Contains(got, "\n") {
			said.Add(1)
		}
	})
	t.Logf("%d ran, %d said something", ran.Load(), said.Load())
	if n := int64(n); ran.Load() < n*8/10 || said.Load() < n/2 {
		t.Errorf("%d of %d ran, %d said something", ran.Load(), n, said.Load())
	}
}

// TestMutationIsSeen is that the test above could fail: on a store without policies the same statements do tell of others.
func TestMutationIsSeen(t *testing.T) {
	s := newStore(t)
	s.fill(true)
	st, _ := statementOf(t, "logs | summarize count()", chtest.Scope(t, "a"))
	if got := s.lines(without(t, st)); got != "180\n" {
		t.Errorf("rows without either wall = %q, want those of both tenants, 180", got)
	}
	if got := s.lines(st); got != "60\n" {
		t.Errorf("rows by the printer alone = %q, want 60", got)
	}
}

// TestNothingIsReadWithoutItsCapability: the tenant's condition does not help a reader whose capability is missing, forged or
// of other tenants.
func TestNothingIsReadWithoutItsCapability(t *testing.T) {
	for name, settings := range map[string]func(policy.Key, tenant.Scope) string{
		"none":      func(policy.Key, tenant.Scope) string { return "" },
		"other key": func(_ policy.Key, s tenant.Scope) string { return policy.NewKey().Tenants(s) },
		"unsigned":  func(_ policy.Key, s tenant.Scope) string { return ":" + strings.Join(s.Strings(), ",") },
		"another's": func(k policy.Key, _ tenant.Scope) string { return k.Tenants(chtest.Scope(t, "b")) },
		"altered": func(k policy.Key, s tenant.Scope) string {
			return k.Tenants(chtest.Scope(t, "b")) + "," + strings.Join(s.Strings(), ",")
		},
	} {
		s := guardedStore(t, settings)
		s.fill(true)
		for _, text := range []string{"logs | count", "spans | count", `metrics("load", "requests", "latency", "size", "gc") | count`} {
			st, ok := statementOf(t, text, chtest.Scope(t, "a"))
			if !ok {
				t.Fatalf("%s does not parse", text)
			}
			if got := s.lines(st); got != "0\n" {
				t.Errorf("%s: %s = %q, want 0", name, text, got)
			}
		}
	}
}

// TestRefusedReaderAnswersNothing: no answer that was kept either.
func TestRefusedReaderAnswersNothing(t *testing.T) {
	var refusal error
	s := newStore(t)
	s.fill(false)
	s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{CacheBytes: 1 << 20, Refuse: func() error { return refusal }, Log: slog.New(slog.DiscardHandler)})
	st, _ := statementOf(t, "logs | count", chtest.Scope(t, "a"))
	run := func() error {
		res, err := s.reader.RunWithin(t.Context(), st, time.Hour)
		if err == nil {
			res.Close()
		}
		return err
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	for _, refusal = range []error{Refused, NotReady} {
		for name, err := range map[string]error{"kept": run(), "asked": func() error { _, err := s.reader.Run(t.Context(), st, Rows); return err }()} {
			e, ok := err.(*httpapi.Error)
			if !ok || e.Status != http.StatusServiceUnavailable || e.Extra["request_id"] == nil {
				t.Errorf("%s: %v, want 503 with a request id", name, err)
			}
		}
	}
	refusal = nil
	if err := run(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
