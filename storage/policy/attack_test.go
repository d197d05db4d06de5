package policy_test

import (
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/policy"
)

// TestPolicyHoldsWhateverTheStatement: the statements have no tenant's condition, or one that is turned off, as if the
// printer of package query had failed. The reader that they are sent as has a capability of tenant a.
func TestPolicyHoldsWhateverTheStatement(t *testing.T) {
	g := start(t)
	g.fill(3, "a", "b")
	g.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, ReceivedAt, Body) SELECT 'b', 'shared-00', 30, now(), 'canary'")
	own := g.key.Tenants(chtest.Scope(t, "a"))
	for sql, want := range map[string]string{
		"SELECT count(), any(TenantId) FROM otel_logs":                                                              "3\ta",
		"SELECT count() FROM otel_logs WHERE TenantId = 'b'":                                                        "0",
		"SELECT count() FROM otel_logs PREWHERE 1 OR TenantId = 'b'":                                                "3",
		"SELECT count() FROM otel_logs WHERE Body = 'canary'":                                                       "0",
		"SELECT 'b' AS TenantId, count() FROM otel_logs":                                                            "b\t3",
		"WITH (x, y) -> 1 AS equals SELECT count() FROM otel_logs":                                                  "3",
		"SELECT count() FROM otel_logs WHERE arrayExists((x, y) -> 1 AS in, [1], [1])":                              "3",
		"SELECT count() FROM (SELECT 1 FROM otel_logs UNION ALL SELECT 1 FROM otel_traces)":                         "6",
		"SELECT count() FROM otel_logs AS l JOIN otel_logs AS r ON l.Partition = r.Partition":                       "9",
		"SELECT count() FROM otel_logs WHERE Partition IN (SELECT Partition FROM otel_traces WHERE TenantId = 'b')": "0",
		"SELECT count() FROM otel_logs WHERE NOT ignore(throwIf(Body = 'canary'))":                                  "3",
		"SELECT count() FROM otel_logs PREWHERE NOT ignore(throwIf(TenantId = 'b'))":                                "3",
		"SELECT sum(toUInt8OrZero(Body) + intDiv(1, Body != 'canary')) FROM otel_logs":                              "3",
		"SELECT min(TenantId), max(TenantId) FROM otel_logs":                                                        "a\ta",
		"SELECT uniq(TenantId) FROM headgate.otel_logs":                                                             "1",
		"SELECT TenantId FROM otel_logs LIMIT 1 BY TenantId":                                                        "a",
	} {
		got, err := g.ask(g.reader, own, sql)
		if err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", sql, got, err, want)
		}
	}
}

// TestReaderCannotReachAroundThePolicy: no statement of the reader's tells the key, another capability, or a row or a file by
// another way than the tables.
func TestReaderCannotReachAroundThePolicy(t *testing.T) {
	g := start(t)
	g.fill(3, "a", "b")
	own, others := g.key.Tenants(chtest.Scope(t, "a")), g.key.Tenants(chtest.Scope(t, "b"))
	for _, sql := range []string{
		"SHOW CREATE ROW POLICY default ON otel_logs", "SHOW ACCESS", "SHOW ROW POLICIES", "SHOW GRANTS",
		"SELECT * FROM system.row_policies", "SELECT * FROM system.processes", "SELECT * FROM system.parts",
		"SELECT * FROM (SHOW TABLES)", "EXPLAIN indexes = 1 SELECT * FROM otel_logs", "SELECT * FROM (EXPLAIN SELECT * FROM otel_logs)",
		"SELECT count() FROM (SELECT * FROM otel_logs SETTINGS log_comment = '" + others + "')",
		"SELECT count() FROM otel_logs SETTINGS log_comment = '" + others + "'",
		"SET log_comment = '" + others + "'",
		"SELECT * FROM mergeTreeIndex('headgate', 'otel_logs')", "SELECT * FROM merge('headgate', 'otel')",
		"SELECT file('/etc/hostname')", "SELECT * FROM file('/etc/hostname', 'LineAsString')", "SELECT * FROM `/etc/hostname`",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "SELECT * FROM remote('127.0.0.1:1', 'system.one')",
		"SELECT * FROM viewExplain('EXPLAIN', 'actions = 1', (SELECT * FROM otel_logs))", "SELECT * FROM filesystem('/etc')",
		"SELECT * FROM sqlite('/etc/hostname', 't')", "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')", "SELECT fqdn()", "SELECT `fullHostName`()",
		"KILL QUERY WHERE 1", "USE system",
	} {
		if got, err := g.ask(g.reader, own, sql); err == nil {
			t.Errorf("%s passed: %q", sql, got)
		}
	}
}

// TestClosedTablesAreEmptyWithoutTheInternalCapability holds what is behind the refusals of the test above: sent as the
// writer, under a tenant's capability, system tables that could tell of others are empty, and the grants refuse other machines.
func TestClosedTablesAreEmptyWithoutTheInternalCapability(t *testing.T) {
	g := start(t)
	g.fill(3, "a", "b")
	for _, table := range []string{"row_policies", "processes", "parts"} {
		sql := "SELECT count() > 0 FROM system." + table
		if got, err := g.ask(g.writer, g.key.Tenants(chtest.Scope(t, "a")), sql); err != nil || got != "0" {
			t.Errorf("%s with a tenant's capability = %q, %v, want 0", sql, got, err)
		}
		if got, err := g.ask(g.writer, g.key.Internal(), sql); err != nil || got != "1" {
			t.Errorf("%s with the internal capability = %q, %v, want 1", sql, got, err)
		}
	}
	for _, sql := range []string{
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "SELECT * FROM file('/etc/hostname', 'LineAsString')",
		"SELECT * FROM remote('127.0.0.1:1', 'system.one')", "INSERT INTO FUNCTION file('/tmp/never') SELECT 1",
	} {
		if got, err := g.ask(g.writer, g.key.Internal(), sql); err == nil || !strings.Contains(err.Error(), "grant") {
			t.Errorf("%s passed the grants: %q, %v", sql, got, err)
		}
	}
}

// TestSmuggledSettingGainsNothing: without the refusal of SETTINGS, a subquery can change the carrier in this version of
// ClickHouse; without the key, it can only change it to what opens nothing.
func TestSmuggledSettingGainsNothing(t *testing.T) {
	g := start(t)
	g.fill(3, "a", "b")
	for smuggled, want := range map[string]string{
		"":  "0",
		"b": "0",
		strings.SplitN(g.key.Tenants(chtest.Scope(t, "a")), ":", 2)[0] + ":b": "0",
		policy.NewKey().Tenants(chtest.Scope(t, "b")):                         "0",
		g.key.Tenants(chtest.Scope(t, "a")):                                   "3",
	} {
		sql := "SELECT count() FROM (SELECT * FROM otel_logs SETTINGS log_comment = '" + smuggled + "')"
		if got, err := g.ask(g.writer, g.key.Tenants(chtest.Scope(t, "a")), sql); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", sql, got, err, want)
		}
	}
}
