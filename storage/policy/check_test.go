package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/policy"
)

func (g *guarded) posture() policy.Posture {
	return policy.Posture{Writer: g.writer, Reader: g.reader, Database: "headgate", Key: g.key, Carrier: policy.EngineCarrier}
}

// check returns what failed, by check.
func check(t *testing.T, p policy.Posture) map[string]string {
	t.Helper()
	findings, err := p.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]string{}
	for _, f := range findings {
		t.Logf("%s %s: %s", f.Status, f.Check, f.Detail)
		if f.Status == policy.Fail {
			failed[f.Check] = f.Detail
			if f.Advice == "" {
				t.Errorf("%s: no advice", f.Check)
			}
		}
	}
	return failed
}

func TestCheckPassesWhatHeadgateSetsUp(t *testing.T) {
	g := start(t)
	if failed := check(t, g.posture()); len(failed) > 0 {
		t.Errorf("empty: failed %v", failed)
	}
	g.fill(2, "a", "b")
	if failed := check(t, g.posture()); len(failed) > 0 {
		t.Errorf("with rows: failed %v", failed)
	}
}

// TestCheckSeesEachMissingWall starts engines whose policies are not as they should be.
func TestCheckSeesEachMissingWall(t *testing.T) {
	start := func(change func(users string) string) *guarded {
		opts := chtest.Options(t.TempDir())
		key := policy.NewKey()
		opts.UsersFile, opts.OwnComment = filepath.Join(opts.DataDir, "users.xml"), key.Internal()
		if err := os.WriteFile(opts.UsersFile, []byte(change(policy.Users("headgate", key))), 0o600); err != nil {
			t.Fatal(err)
		}
		g := &guarded{Engine: chtest.StartOwn(t, opts), t: t, key: key}
		g.migrate()
		g.fill(2, "a", "b")
		return g
	}
	cut := func(s, from, to string) string {
		i := strings.Index(s, from)
		return s[:i] + s[i+strings.Index(s[i:], to)+len(to):]
	}
	for _, c := range []struct {
		name   string
		change func(string) string
		want   map[string]string // part of the detail, by check
	}{
		{"a table without a policy", func(s string) string { return cut(s, "<otel_profiles>", "</otel_profiles>") },
			map[string]string{"policies": "otel_profiles has no policy", "capability": "otel_profiles"}},
		{"a condition that is always true", func(s string) string { return strings.ReplaceAll(s, "<filter>", "<filter>1 OR ") },
			map[string]string{"policies": "otel_logs is not headgate's own", "capability": "without a capability"}},
		{"everything without its MAC", func(s string) string {
			return strings.ReplaceAll(s, ") AND substring(getSetting(&#39;log_comment&#39;), 66) =", ") OR substring(getSetting(&#39;log_comment&#39;), 66) =")
		}, map[string]string{"policies": "otel_logs is not headgate's own", "capability": "shown with an unsigned capability"}},
		{"another key", func(string) string { return policy.Users("headgate", policy.NewKey()) },
			map[string]string{"policies": "otel_logs has no policy"}}, // the writer does not see them
	} {
		t.Run(c.name, func(t *testing.T) {
			g := start(c.change)
			g.t = t
			failed := check(t, g.posture())
			for check, detail := range c.want {
				if got, ok := failed[check]; !ok || !strings.Contains(got, detail) {
					t.Errorf("%s: %q, want %q", check, got, detail)
				}
			}
		})
	}
	g := start(func(s string) string { return s })
	for name, p := range map[string]policy.Posture{
		"the writer reads": {Writer: g.writer, Reader: g.Open(t, "headgate"), Database: "headgate", Key: g.key, Carrier: policy.EngineCarrier},
		"no key":           {Writer: g.writer, Reader: g.reader, Database: "headgate", Carrier: policy.EngineCarrier},
	} {
		if failed := check(t, p); len(failed) == 0 {
			t.Errorf("%s: nothing failed", name)
		}
	}
}

// TestCheckKnowsWhenNothingIsKnown: silence is neither safe nor unsafe.
func TestCheckKnowsWhenNothingIsKnown(t *testing.T) {
	g := start(t)
	opt := g.ReaderOptions()
	opt.Addr = []string{"127.0.0.1:1"}
	var dead driver.Conn = chtest.OpenOptions(t, opt)
	p := g.posture()
	p.Reader = dead
	if findings, err := p.Check(t.Context()); err == nil {
		t.Errorf("findings %v without an answer", findings)
	}
}
