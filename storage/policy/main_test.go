package policy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/policy"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// guarded is an engine whose policies ask for capabilities of key, with the schema of this version.
type guarded struct {
	*chtest.Engine
	t              testing.TB
	key            policy.Key
	writer, reader driver.Conn
}

func start(t testing.TB) *guarded {
	t.Helper()
	key := policy.NewKey()
	g := &guarded{Engine: chtest.StartGuarded(t, "headgate", key), t: t, key: key}
	g.migrate()
	return g
}

func (g *guarded) migrate() {
	g.t.Helper()
	g.writer = g.Open(g.t, "")
	g.exec("CREATE DATABASE headgate")
	g.writer, g.reader = g.Open(g.t, "headgate"), g.OpenReader(g.t, "headgate")
	if err := storage.Migrate(g.t.Context(), g.writer, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		g.t.Fatal(err)
	}
}

// fill gives each tenant rows rows in every table with a policy.
func (g *guarded) fill(rows int, tenants ...string) {
	g.t.Helper()
	for _, table := range policy.Tables() {
		for _, id := range tenants {
			more, value := "", ""
			if table == schema.MetricsSeries {
				more, value = ", SeriesId", ", number" // equal rows would collapse
			}
			g.exec(fmt.Sprintf("INSERT INTO %s (TenantId, Partition, RetentionDays, ReceivedAt%s) SELECT '%s', 'shared-00', 30, now()%s FROM numbers(%d)",
				table, more, id, value, rows))
		}
	}
}

func (g *guarded) exec(sql string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	if err := g.writer.Exec(ctx, sql); err != nil {
		g.t.Fatalf("%.200s: %v", sql, err)
	}
}

// ask answers the result of a statement under a capability as tab-separated lines, joined by ";".
func (g *guarded) ask(conn driver.Conn, capability, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{string(policy.EngineCarrier): capability}))
	r, err := conn.QueryFormat(ctx, "TSV", sql)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ";"), err
}

// sees fails the test unless a reader with the capability gets want for sql.
func (g *guarded) sees(what, capability, sql, want string) {
	g.t.Helper()
	if got, err := g.ask(g.reader, capability, sql); err != nil || got != want {
		g.t.Errorf("%s: %s = %q, %v, want %q", what, sql, got, err, want)
	}
}
