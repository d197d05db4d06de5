package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/policy"
)

// BenchmarkRead asks the same of the same 2 M rows of 50 tenants, in a table with the policy and in one without: of one
// tenant, as the printer does, and of a scope of many tenants.
func BenchmarkRead(b *testing.B) {
	g := start(b)
	g.exec("CREATE TABLE headgate.plain AS headgate.otel_logs")
	for _, table := range []string{"otel_logs", "plain"} {
		g.exec("INSERT INTO " + table + ` (TenantId, Partition, RetentionDays, ReceivedAt, Timestamp, SeverityNumber, Body)
			SELECT leftPad(toString(number % 50), 3, '0'), 'shared-00', 30, now(), now64(9) - number / 1000, number % 24, repeat('x', 100) FROM numbers(2000000)`)
		g.exec("OPTIMIZE TABLE " + table + " FINAL")
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("%03d", i))
	}
	for _, scope := range [][]string{{"007"}, many} {
		capability := g.key.Tenants(chtest.Scope(b, scope...))
		for _, table := range []string{"plain", "otel_logs"} {
			sql := "SELECT SeverityNumber, count() FROM " + table + " PREWHERE TenantId IN ['" + strings.Join(scope, "','") +
				"'] AND Timestamp > now64(9) - INTERVAL 1 DAY GROUP BY SeverityNumber"
			b.Run(fmt.Sprintf("tenants=%d/policy=%v", len(scope), table == policy.Tables()[0]), func(b *testing.B) {
				for b.Loop() {
					if _, err := g.ask(g.reader, capability, sql); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
