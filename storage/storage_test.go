package storage

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

var quiet = slog.New(slog.DiscardHandler)

// migrated returns a connection to a fresh database with all tables.
func migrated(t *testing.T, e *chtest.Engine) driver.Conn {
	t.Helper()
	database := chtest.Database(t)
	if err := e.Open(t, "").Exec(t.Context(), "CREATE DATABASE IF NOT EXISTS `"+database+"`"); err != nil { // e may be a test's own
		t.Fatal(err)
	}
	conn := e.Open(t, database)
	if err := Migrate(t.Context(), conn, schema.Migrations, quiet); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	return conn
}

const day = 20_000 // 2024-10-04

// logRows are n rows of one tenant on the given days since 1970, one after another.
func logRows(tenantID, partition string, n int, days ...uint16) Rows {
	return rowsOf("Body", tenantID, partition, n, func() []byte { return []byte("the message") }, days...)
}

// logRowsIn are logRows whose text is for the column bodyColumn.
func logRowsIn(bodyColumn, tenantID, partition string, n int) Rows {
	return rowsOf(bodyColumn, tenantID, partition, n, func() []byte { return []byte("the message") })
}

// logRowsOf are logRows with texts of text.
func logRowsOf(tenantID, partition string, n int, text func() []byte) Rows {
	return rowsOf("Body", tenantID, partition, n, text)
}

// metricRows are n rows of a metric table whose text is for the column named column.
func metricRows(table, column string, n int) Rows {
	rows := columnsOf("TimeUnix", column, "a", "shared-00", n, func() []byte { return []byte("By") }, []uint16{day})
	rows.Table = table
	return rows
}

func rowsOf(bodyColumn, tenantID, partition string, n int, text func() []byte, days ...uint16) Rows {
	if len(days) == 0 {
		days = []uint16{day}
	}
	return columnsOf("Timestamp", bodyColumn, tenantID, partition, n, text, days)
}

func columnsOf(timeColumn, bodyColumn, tenantID, partition string, n int, text func() []byte, days []uint16) Rows {
	id, part := native.NewLowCardinality(), native.NewLowCardinality()
	retention, received, ts := native.NewFixed[uint16]("UInt16"), native.NewFixed[uint32]("DateTime"), native.NewFixed[int64]("DateTime64(9)")
	body := native.NewString()
	var b native.Builder
	b.Add("TenantId", id)
	b.Add("Partition", part)
	b.Add("RetentionDays", retention)
	b.Add("ReceivedAt", received)
	b.Add(timeColumn, ts)
	b.Add(bodyColumn, body)
	for i := range n {
		id.Append([]byte(tenantID))
		part.Append([]byte(partition))
		retention.Append(30)
		received.Append(uint32(time.Now().Unix()))
		ts.Append(int64(days[i%len(days)]) * int64(24*time.Hour))
		body.Append(text())
	}
	return Rows{Table: schema.Logs, Partition: partition, Days: days, Block: b.Encode(n)}
}

func scan[T any](t *testing.T, conn driver.Conn, query string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func id(t *testing.T, s string) tenant.ID {
	t.Helper()
	v, err := tenant.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
