package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// filler is an expression of the type, with values that differ by n, the name of a number; nothing is left empty throughout.
func filler(kind string, n string) string {
	inner := func(prefix string) (string, bool) {
		rest, ok := strings.CutPrefix(kind, prefix+"(")
		return strings.TrimSuffix(rest, ")"), ok
	}
	if of, ok := inner("LowCardinality"); ok {
		return filler(of, n)
	}
	if of, ok := inner("Nullable"); ok {
		return "if(" + n + " % 3 = 0, NULL, " + filler(of, n) + ")"
	}
	if of, ok := inner("Array"); ok { // as long as the others of a Nested
		return "arrayMap(i -> " + filler(of, "(i + number)") + ", range(number % 4))"
	}
	if of, ok := inner("Map"); ok {
		key, value, _ := strings.Cut(of, ", ")
		return "if(" + n + " % 5 = 0, map(), map(" + filler(key, n) + ", " + filler(value, n) + ", 'ключ', " + filler(value, "("+n+" + 1)") + "))"
	}
	switch {
	case kind == "String":
		return "concat('text é\\0\\n\\xff\\'', toString(" + n + "))"
	case kind == "Date":
		return "toDate('2024-10-03') + " + n + " % 2"
	case kind == "Bool":
		return n + " % 2 = 0"
	case strings.HasPrefix(kind, "Enum8"):
		return "CAST(1 + 2 * (" + n + " % 2), '" + strings.ReplaceAll(kind, "'", "\\'") + "')"
	case strings.HasPrefix(kind, "Float"):
		return "multiIf(" + n + " % 7 = 1, inf, " + n + " % 7 = 2, -0.0, " + n + " / 3)"
	case kind == "UInt64":
		return "18446744073709551615 - " + n
	case kind == "Int64":
		return "toInt64(" + n + ") - 9223372036854775807"
	case kind == "UInt8" || kind == "UInt16" || kind == "UInt32" || kind == "Int32":
		return n + " % 200"
	case strings.HasPrefix(kind, "DateTime64(9"):
		return "fromUnixTimestamp64Nano(toInt64(1727999999000000000 + " + n + " * 999999999), 'UTC')"
	}
	panic("no filler of " + kind)
}

// fill puts n rows of a tenant into a table, with something in every column that an INSERT takes.
func fill(t *testing.T, conn driver.Conn, table, tenantID string, n int, received string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '"+table+"' AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names, values []string
	for rows.Next() {
		var name, kind string
		if err := rows.Scan(&name, &kind); err != nil {
			t.Fatal(err)
		}
		names = append(names, "`"+name+"`")
		switch name {
		case "TenantId":
			values = append(values, "'"+tenantID+"'")
		case "Partition":
			values = append(values, "'shared-00'")
		case "RetentionDays":
			values = append(values, "3650")
		case "ReceivedAt":
			values = append(values, received)
		default:
			values = append(values, filler(kind, "number"))
		}
	}
	sql := "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") SELECT " + strings.Join(values, ", ") + fmt.Sprintf(" FROM numbers(%d)", n)
	if err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// sumOf is a checksum over all columns and all rows of a tenant, in any order.
func sumOf(t *testing.T, conn driver.Conn, table, where string) string {
	t.Helper()
	return scan[string](t, conn, "SELECT concat(toString(count()), ' ', toString(sum(cityHash64(formatRow('RowBinary', *)))), ' ', toString(groupBitXor(sipHash64(formatRow('RowBinary', *))))) FROM "+table+" WHERE "+where)
}

// What is exported of a tenant is, read back by ClickHouse, every row with every column as it is; and no row of another tenant or
// of after the moment.
func TestExportHasEveryRowAndColumnOfTheTenantAlone(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	x := &Exporter{conn}
	before := time.Now().UTC().Truncate(time.Second)
	early := fmt.Sprintf("toDateTime(%d, 'UTC')", before.Unix()-100)
	for _, table := range schema.All {
		fill(t, conn, table, "mine", 1000, early)
		fill(t, conn, table, "mine", 7, fmt.Sprintf("toDateTime(%d, 'UTC')", before.Unix())) // too late by nothing
		fill(t, conn, table, "canary", 500, early)
		fill(t, conn, table, "min", 5, early)
	}
	parts, err := x.Parts(t.Context(), id(t, "mine"), ExportSpan{Before: before})
	if err != nil || len(parts) != 2*len(schema.All) || parts[0].Day != "2024-10-03" {
		t.Fatalf("%d parts, %v: %+v", len(parts), err, parts)
	}
	oneDay := ExportSpan{From: "2024-10-04", To: "2024-10-05", Before: before}
	if some, err := x.Parts(t.Context(), id(t, "mine"), oneDay); err != nil || len(some) != len(schema.All) || some[0].Day != "2024-10-04" {
		t.Errorf("parts of one day: %v, %+v", err, some)
	}
	for _, table := range schema.All {
		if err := conn.Exec(t.Context(), "CREATE TABLE copy_"+table+" AS "+table); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range parts {
		var file bytes.Buffer
		if err := x.WritePart(t.Context(), id(t, "mine"), p.Table, p.Day, before, &file); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(file.Bytes(), []byte("canary")) {
			t.Errorf("%+v has another tenant's name", p)
		}
		if n, err := x.CountPart(t.Context(), id(t, "mine"), p.Table, p.Day, before); n != p.Rows || err != nil {
			t.Errorf("%+v: CountPart = %d, %v", p, n, err)
		}
		if err := conn.InsertFormat(t.Context(), "Parquet", "INSERT INTO copy_"+p.Table, &file); err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
	}
	for _, table := range schema.All {
		want := sumOf(t, conn, table, fmt.Sprintf("TenantId = 'mine' AND ReceivedAt < toDateTime(%d, 'UTC')", before.Unix()))
		if table == schema.MetricsSeries { // a series that is said again later is the same
			want = sumOf(t, conn, table+" FINAL", "TenantId = 'mine'")
		}
		if got := sumOf(t, conn, "copy_"+table, "1"); got != want || !strings.HasPrefix(got, "1000 ") {
			t.Errorf("%s: read back %s, want %s", table, got, want)
		}
	}
}

// Tables that nobody knew of when the code was written are exported too; one without days is one part.
func TestExportFindsEveryTableWithTenants(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	x := &Exporter{conn}
	for _, sql := range []string{
		"CREATE TABLE `side ``table` (TenantId String, N UInt8) ENGINE = ReplacingMergeTree ORDER BY N",
		"CREATE TABLE plain (TenantId String, N UInt8) ENGINE = Log",
		"INSERT INTO `side ``table` VALUES ('mine', 1), ('other', 2)",
		"INSERT INTO plain VALUES ('mine', 1), ('mine', 3), ('other', 2)",
	} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	parts, err := x.Parts(t.Context(), id(t, "mine"), ExportSpan{From: "2024-01-01", Before: time.Now()})
	if want := []ExportPart{{"plain", AllDays, 2}, {"side `table", AllDays, 1}}; err != nil || fmt.Sprint(parts) != fmt.Sprint(want) {
		t.Fatalf("parts %+v, %v, want %+v", parts, err, want)
	}
	for _, p := range parts {
		var file bytes.Buffer
		if err := x.WritePart(t.Context(), id(t, "mine"), p.Table, p.Day, time.Now(), &file); err != nil || !strings.HasSuffix(file.String(), parquetMagic) {
			t.Errorf("%+v: %v, %d bytes", p, err, file.Len())
		}
	}
	for _, p := range [][2]string{{"nothing", AllDays}, {"headgate_migrations", AllDays}, {"plain", "2024-10-04"}, {schema.Logs, AllDays}, {schema.Logs, "' OR 1"}, {"", ""}} {
		if err := x.WritePart(t.Context(), id(t, "mine"), p[0], p[1], time.Now(), &bytes.Buffer{}); !errors.Is(err, ErrNoPart) {
			t.Errorf("WritePart of %q %q = %v, want ErrNoPart", p[0], p[1], err)
		}
	}
	if err := x.WritePart(t.Context(), tenant.ID{}, "plain", AllDays, time.Now(), &bytes.Buffer{}); err == nil {
		t.Error("WritePart of the zero id was accepted")
	}
}

// failing takes some bytes.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errors.New("the reader is gone")
	}
	return len(b), nil
}

// A reader that goes away ends the query; so does the caller.
func TestAnExportThatNobodyReadsEnds(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	fill(t, conn, schema.Logs, "mine", 60_000, "now('UTC') - 100")
	x := &Exporter{conn}
	parts, err := x.Parts(t.Context(), id(t, "mine"), ExportSpan{Before: time.Now()})
	if err != nil || len(parts) != 2 {
		t.Fatalf("%+v, %v", parts, err)
	}
	p := parts[1]
	if err := x.WritePart(t.Context(), id(t, "mine"), p.Table, p.Day, time.Now(), &failing{left: 1000}); err == nil || !strings.Contains(err.Error(), "the reader is gone") {
		t.Errorf("WritePart to a reader that is gone = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.WritePart(ctx, id(t, "mine"), p.Table, p.Day, time.Now(), &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("WritePart of a caller that is gone = %v", err)
	}
	timetest.Eventually(t, "the queries to end", func() bool {
		return scan[uint64](t, conn, "SELECT count() FROM system.processes WHERE query LIKE '%FORMAT Parquet%' OR query LIKE 'SELECT * FROM%'") <= 1
	})
}

// cutting ends results early, in good order, as a server that dies behind a proxy does.
type cutting struct {
	driver.Conn
	keep int64
}

func (c cutting) QueryFormat(ctx context.Context, format, query string, args ...any) (io.ReadCloser, error) {
	s, err := c.Conn.QueryFormat(ctx, format, query, args...)
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(s, c.keep), s}, err
}

func TestAFileWithoutItsEndIsNone(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	fill(t, conn, schema.Logs, "mine", 1, "now('UTC') - 100")
	var whole bytes.Buffer
	write := func(conn driver.Conn, to io.Writer) error {
		return (&Exporter{conn}).WritePart(t.Context(), id(t, "mine"), schema.Logs, "2024-10-03", time.Now(), to)
	}
	if err := write(conn, &whole); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []int64{0, 3, 4, 5, 1000, int64(whole.Len()) - 1} {
		if err := write(cutting{conn, keep}, io.Discard); !errors.Is(err, ErrCutOff) {
			t.Errorf("cut after %d bytes: %v, want ErrCutOff", keep, err)
		}
	}
}
