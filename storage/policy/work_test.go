package policy_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/policy"
)

// TestOwnWorkGoesOnUnderThePolicies: what headgate and ClickHouse do to tables themselves sees every row.
func TestOwnWorkGoesOnUnderThePolicies(t *testing.T) {
	g := start(t)
	g.fill(5, "a", "b", "c", "d")
	all := g.key.Tenants(chtest.Scope(t, "a", "b", "c", "d", "kept", "old"))
	see := func(what, want string) {
		t.Helper()
		const tenants = "SELECT arrayStringConcat(arraySort(groupUniqArray(toString(TenantId))), ',') FROM otel_logs"
		if got, err := g.ask(g.writer, g.key.Internal(), tenants); err != nil || got != want {
			t.Errorf("%s: tenants left %q, %v, want %q", what, got, err, want)
		}
		g.sees(what, all, tenants, want)
	}
	see("at first", "a,b,c,d")
	g.exec("ALTER TABLE otel_logs DELETE WHERE TenantId = 'b' SETTINGS mutations_sync = 2")
	see("after a mutation", "a,c,d")
	g.exec("DELETE FROM otel_logs WHERE TenantId = 'c'")
	see("after a lightweight delete", "a,d")
	g.exec("OPTIMIZE TABLE otel_logs FINAL")
	see("after a merge", "a,d")
	g.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, ReceivedAt) SELECT 'old', 'old', 1, now() - INTERVAL 3 DAY FROM numbers(5)")
	g.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, ReceivedAt) SELECT 'kept', 'old', 9, now() - INTERVAL 3 DAY FROM numbers(5)")
	g.exec("ALTER TABLE otel_logs MODIFY SETTING ttl_only_drop_parts = 0")
	g.exec("OPTIMIZE TABLE otel_logs FINAL")
	see("after a TTL", "a,d,kept")
}

// TestDeletionAndCountsSeeEveryRow: the functions that answer for billing and deletion are not starved by the policies.
func TestDeletionAndCountsSeeEveryRow(t *testing.T) {
	g := start(t)
	g.fill(5, "a", "b")
	tenantA, err := tenant.ParseID("a")
	if err != nil {
		t.Fatal(err)
	}
	counts, err := storage.CountTenant(t.Context(), g.writer, tenantA)
	if err != nil || len(counts) < len(policy.Tables()) {
		t.Fatalf("counts %v, %v", counts, err)
	}
	for _, c := range counts {
		if c.Rows != 5 {
			t.Errorf("%s: %d rows counted, want 5", c.Table, c.Rows)
		}
	}
	kept, err := storage.NewMeasure(g.writer).UnsafeKept(t.Context())
	if err != nil || kept["a"] == 0 || kept["b"] == 0 {
		t.Errorf("kept %v, %v, want bytes of both tenants", kept, err)
	}
	if err := storage.DeleteTenant(t.Context(), g.writer, tenantA, nil); err != nil {
		t.Fatal(err)
	}
	for _, table := range policy.Tables() {
		g.sees(table+": deleted", g.key.Tenants(chtest.Scope(t, "a")), "SELECT count() FROM "+table, "0")
		g.sees(table+": another's", g.key.Tenants(chtest.Scope(t, "b")), "SELECT count() FROM "+table, "5")
	}
}

// TestRestartedEngineHasThePolicies: the supervisor's next child knows the same key.
func TestRestartedEngineHasThePolicies(t *testing.T) {
	g := start(t)
	g.fill(2, "a", "b")
	before := g.PID()
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); g.PID() == before || g.PID() == 0 || g.writer.Ping(t.Context()) != nil; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the engine does not come back within a minute")
		}
	}
	g.sees("after a restart", g.key.Tenants(chtest.Scope(t, "a")), "SELECT count(), any(TenantId) FROM otel_logs", "2\ta")
	g.sees("after a restart, without a capability", "", "SELECT count() FROM otel_logs", "0")
	if n, err := g.ask(g.writer, g.key.Internal(), "SELECT count() FROM otel_logs"); err != nil || n != "4" {
		t.Errorf("writer sees %s rows after a restart, %v, want 4", n, err)
	}
}

// TestUsersFileIsTheOwnersAlone: it holds the key. One that was there with another mode is replaced, not written into.
func TestUsersFileIsTheOwnersAlone(t *testing.T) {
	path := t.TempDir() + "/engine/users.xml"
	if err := policy.WriteUsers(path, "headgate", policy.NewKey()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := policy.WriteUsers(path, "headgate", policy.NewKey()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	left, err := os.ReadDir(path[:len(path)-len("/users.xml")])
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}
