package storage

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// keep stores n rows whose text, if the table has one, is of size random bytes, as one part.
func keep(tb testing.TB, conn driver.Conn, table, tenantID, placement string, n, size int) {
	tb.Helper()
	text := ""
	if table == schema.Logs {
		text = fmt.Sprintf(", randomString(%d) AS Body", size)
	}
	err := conn.Exec(tb.Context(), fmt.Sprintf(`INSERT INTO %s (TenantId, Partition, RetentionDays, ReceivedAt, %s%s)
		SELECT '%s', '%s', 30, now(), toDateTime64('2026-11-01 00:00:00', 9)%s FROM numbers(%d)`,
		table, schema.TimeColumn(table), map[bool]string{true: ", Body"}[text != ""], tenantID, placement, text, n))
	if err != nil {
		tb.Fatal(err)
	}
}

// onDisk returns the bytes of all parts that match.
func onDisk(t *testing.T, conn driver.Conn, where string) int64 {
	t.Helper()
	return int64(scan[uint64](t, conn, `SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table LIKE 'otel%' AND `+where))
}

func kept(t *testing.T, m *Measure) map[string]int64 {
	t.Helper()
	got, err := m.UnsafeKept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// near reports whether two numbers of bytes differ by roundings alone.
func near(a, b int64) bool { return max(a-b, b-a) <= 100+b/100_000 }

func TestOwnPartitionsAreMeasuredExactly(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	for _, table := range schema.All {
		keep(t, conn, table, "own", "own", 500, 100)
		keep(t, conn, table, "other", "other", 50, 100)
		keep(t, conn, table, "own", "shared-03", 10, 100) // from before it had its own
	}
	m := NewMeasure(conn)
	got := kept(t, m)
	own, other, shared := onDisk(t, conn, `partition LIKE '%own%'`), onDisk(t, conn, `partition LIKE '%other%'`), onDisk(t, conn, `partition LIKE '%shared-03%'`)
	if own == 0 || shared == 0 || !near(got["own"], own+shared) || got["other"] != other || len(got) != 2 {
		t.Errorf("kept %v, want own %d + %d and other %d", got, own, shared, other)
	}
}

func TestSharedPartsAreDividedByWeight(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	m := NewMeasure(conn)
	if got := kept(t, m); len(got) != 0 {
		t.Errorf("an empty database keeps %v", got)
	}
	wantSum := func(what string) map[string]int64 {
		t.Helper()
		got := kept(t, m)
		var sum int64
		for _, n := range got {
			sum += n
		}
		if all := onDisk(t, conn, "1"); !near(sum, all) {
			t.Errorf("%s: %v is %d, want %d", what, got, sum, all)
		}
		return got
	}
	// As many rows, of texts a hundred times as long: rows alone would say half each.
	keep(t, conn, schema.Logs, "long", "shared-00", 2000, 2000)
	keep(t, conn, schema.Logs, "short", "shared-00", 2000, 20)
	long, short := onDisk(t, conn, `rows = 2000 AND bytes_on_disk > 2000000`), onDisk(t, conn, `bytes_on_disk < 2000000`)
	if got := wantSum("two parts"); !near(got["long"], long) || !near(got["short"], short) {
		t.Errorf("parts of one tenant each: %v, want %d and %d", got, long, short)
	}
	if err := conn.Exec(t.Context(), "OPTIMIZE TABLE otel_logs FINAL"); err != nil {
		t.Fatal(err)
	}
	got := wantSum("merged")
	if off := float64(got["long"]) / float64(long); off < 0.9 || off > 1.1 {
		t.Errorf("long keeps %d of a merged part, %d before", got["long"], long)
	}
	if got["short"] < short/4 || got["short"] > 4*short {
		t.Errorf("short keeps %d of a merged part, %d before", got["short"], short)
	}
	// Parts that come and go are seen, and what is remembered goes with them.
	keep(t, conn, schema.Logs, "third", "shared-01", 100, 500)
	keep(t, conn, schema.Traces, "third", "shared-00", 100, 0)
	if got := wantSum("more parts"); got["third"] == 0 || len(m.parts) != 3 {
		t.Errorf("%v of %d parts", got, len(m.parts))
	}
	if err := DeleteTenant(t.Context(), conn, id(t, "long"), nil); err != nil {
		t.Fatal(err)
	}
	if got := wantSum("deleted"); got["long"] != 0 || got["short"] == 0 {
		t.Errorf("after the deletion %v", got)
	}
	if err := conn.Exec(t.Context(), "TRUNCATE TABLE otel_logs"); err != nil {
		t.Fatal(err)
	}
	if got := wantSum("truncated"); len(m.parts) != 1 || !slices.Equal(slices.Collect(maps.Keys(got)), []string{"third"}) {
		t.Errorf("of one part are remembered %d: %v", len(m.parts), got)
	}
}

// A part that was merged away before it could be read is divided as the rest of its partition is.
func TestPartsThatWereMissedAreDividedAsTheOthers(t *testing.T) {
	m := NewMeasure(nil)
	a, b := part{"t", "1", 100}, part{"t", "2", 300}
	m.parts[a] = []share{{m.number("x"), 0.25}, {m.number("y"), 0.75}}
	got := map[string]int64{"y": 1}
	m.divide([]part{a, b}, got)
	if got["x"] != 100 || got["y"] != 301 {
		t.Errorf("divided %v, want x 100 and y 301", got)
	}
	m.divide([]part{b}, got) // nothing is known
	if got["x"] != 100 || got["y"] != 301 {
		t.Errorf("divided what is not known: %v", got)
	}
}

// A measurement that fails says so, and the next one goes on.
func TestMeasurementFailsWithItsEngine(t *testing.T) {
	r := newRig(t, LogOptions{})
	keep(t, r.conn, schema.Logs, "a", "shared-00", 10, 10)
	var database string
	if err := r.conn.QueryRow(t.Context(), "SELECT currentDatabase()").Scan(&database); err != nil {
		t.Fatal(err)
	}
	m := NewMeasure(r.engine.OpenAt(t, r.proxy.Addr(), database))
	before := kept(t, m)
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	if got, err := m.UnsafeKept(t.Context()); err == nil {
		t.Errorf("kept %v of an engine that is away", got)
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	if got := kept(t, m); !maps.Equal(got, before) {
		t.Errorf("kept %v, want %v", got, before)
	}
}

// BenchmarkMeasure reads the shared parts of 10 days, 16 placements and 300 tenants, a million rows, and then what is new.
func BenchmarkMeasure(b *testing.B) {
	e := chtest.Start(b)
	database := "bench_measure"
	if err := e.Open(b, "").Exec(b.Context(), "CREATE DATABASE "+database); err != nil {
		b.Fatal(err)
	}
	conn := e.Open(b, database)
	if err := Migrate(b.Context(), conn, schema.Migrations, quiet); err != nil {
		b.Fatal(err)
	}
	for range 5 {
		err := conn.Exec(b.Context(), `INSERT INTO otel_logs (TenantId, Partition, RetentionDays, ReceivedAt, Timestamp, Body, LogAttributes)
			SELECT concat('tenant', toString(number % 300)), concat('shared-', leftPad(toString(number % 300 % 16), 2, '0')), 30, now(),
			toDateTime64('2026-11-01 00:00:00', 9) + INTERVAL (number % 10) DAY, randomPrintableASCII(100), map('a', toString(number), 'b', 'c')
			FROM numbers(200000) SETTINGS max_partitions_per_insert_block = 1000`)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewMeasure(conn).UnsafeKept(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nothing-new", func(b *testing.B) {
		m := NewMeasure(conn)
		for b.Loop() {
			if _, err := m.UnsafeKept(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
