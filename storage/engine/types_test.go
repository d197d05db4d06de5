package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/headgate-io/headgate/internal/chtest"
)

const typesTable = `CREATE TABLE types (
	Id UInt64,
	Text String,
	Fixed FixedString(4),
	Low LowCardinality(String),
	LowNull LowCardinality(Nullable(String)),
	Null Nullable(Int32),
	Flag Bool,
	Wide Int256,
	Real Float64,
	At DateTime('UTC'),
	Nanos DateTime64(9, 'UTC'),
	Day Date,
	Kind Enum8('a' = 1, 'b' = 2),
	Key UUID,
	Ip IPv6,
	Attrs Map(LowCardinality(String), String),
	LowAttrs Map(LowCardinality(String), LowCardinality(String)),
	List Array(Array(UInt64)),
	Pair Tuple(String, Int8),
	Events Nested(Timestamp DateTime64(9, 'UTC'), Name LowCardinality(String), Attributes Map(LowCardinality(String), String))
) ENGINE = MergeTree ORDER BY Id`

func typesRow(i int) []any {
	at := time.Date(2026, 7, 14, 12, 30, 0, 0, time.UTC)
	var low *string
	var null *int32
	if i%2 == 0 {
		s, n := fmt.Sprint("low", i%3), int32(-i)
		low, null = &s, &n
	}
	return []any{
		uint64(i), "text \x00 \xff '\\ \n ü", "abcd", fmt.Sprint("low", i%5), low, null, i%2 == 1,
		big.NewInt(int64(-i)), float64(i) / 3, at, at.Add(time.Duration(i)), at.Truncate(24 * time.Hour),
		[]string{"a", "b"}[i%2], uuid.UUID{byte(i)}, netip.MustParseAddr("2001:db8::1"),
		map[string]string{"k": fmt.Sprint(i), "": ""}, map[string]string{"service": "x"},
		[][]uint64{{1, 2}, {}, {uint64(i)}}, []any{"left", int8(i % 100)},
		[]time.Time{at.Add(1), at.Add(2)}, []string{"one", "two"}, []map[string]string{{"a": "b"}, {}},
	}
}

func insertTypes(t *testing.T, conn driver.Conn, table string, rows int) {
	t.Helper()
	b, err := conn.PrepareBatch(t.Context(), "INSERT INTO "+table)
	if err != nil {
		t.Fatalf("prepare batch: %v", err)
	}
	for i := range rows {
		if err := b.Append(typesRow(i)...); err != nil {
			t.Fatalf("append row %d: %v", i, err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatalf("send: %v", err)
	}
}

func TestEveryTypeComesBackAsWritten(t *testing.T) {
	for name, c := range map[string]*clickhouse.Compression{
		"plain": nil,
		"lz4":   {Method: clickhouse.CompressionLZ4},
		"zstd":  {Method: clickhouse.CompressionZSTD, Level: 3},
		"gzip":  {Method: clickhouse.CompressionGZIP, Level: 1},
	} {
		t.Run(name, func(t *testing.T) {
			opts := chtest.Start(t).WriterOptions()
			opts.Auth.Database = chtest.Database(t)
			opts.Compression = c
			if name == "gzip" {
				opts.Settings = clickhouse.Settings{"enable_http_compression": 1}
			}
			conn := open(t, opts)
			mustExec(t, conn, typesTable)
			insertTypes(t, conn, "types", 100)

			rows, err := conn.Query(t.Context(), "SELECT * FROM types ORDER BY Id")
			if err != nil {
				t.Fatalf("query: %v", err)
			}
			defer rows.Close()
			n := 0
			for ; rows.Next(); n++ {
				want := typesRow(n)
				got := make([]any, len(want))
				for i, ct := range rows.ColumnTypes() {
					got[i] = reflect.New(ct.ScanType()).Interface()
				}
				if err := rows.Scan(got...); err != nil {
					t.Fatalf("scan row %d: %v", n, err)
				}
				for i, name := range rows.Columns() {
					if g := fmt.Sprint(deref(got[i])); g != fmt.Sprint(deref(want[i])) {
						t.Errorf("row %d, %s = %v, want %v", n, name, g, deref(want[i]))
					}
				}
			}
			if err := rows.Err(); err != nil || n != 100 {
				t.Errorf("read %d rows, %v, want 100", n, err)
			}
		})
	}
}

func deref(v any) any {
	for r := reflect.ValueOf(v); r.IsValid(); r = r.Elem() {
		if r.Kind() != reflect.Pointer || r.Type() == reflect.TypeFor[*big.Int]() {
			return r.Interface()
		}
	}
	return nil
}

// nativeBytes reads a table as Native blocks.
func nativeBytes(t *testing.T, conn driver.Conn, query string) []byte {
	t.Helper()
	return format(t, conn, "Native", query)
}

func format(t *testing.T, conn driver.Conn, name, query string) []byte {
	t.Helper()
	r, err := conn.QueryFormat(t.Context(), name, query)
	if err != nil {
		t.Fatalf("query %s: %v", name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return b
}

func TestRawNativeBlocksRoundTrip(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	mustExec(t, conn, typesTable)
	mustExec(t, conn, "CREATE TABLE copy AS types")
	insertTypes(t, conn, "types", 5000)

	// Blocks of 700 rows, one after another: one INSERT body of many blocks.
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_block_size": 700}))
	r, err := conn.QueryFormat(ctx, "Native", "SELECT * FROM types")
	if err != nil {
		t.Fatalf("query Native: %v", err)
	}
	if err := conn.InsertFormat(t.Context(), "Native", "INSERT INTO copy", r); err != nil {
		t.Fatalf("insert Native: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	const q = "SELECT * FROM %s ORDER BY Id"
	if a, b := nativeBytes(t, conn, fmt.Sprintf(q, "types")), nativeBytes(t, conn, fmt.Sprintf(q, "copy")); !bytes.Equal(a, b) {
		t.Errorf("copy differs: %d bytes, want %d", len(b), len(a))
	}
}

func TestBlocksOneAfterAnotherAreOneInsert(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
	block := nativeBytes(t, conn, "SELECT number AS a FROM numbers(1000)")
	body := bytes.Repeat(block, 20)

	insert := func(token string) {
		t.Helper()
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token}))
		if err := conn.InsertFormat(ctx, "Native", "INSERT INTO t", bytes.NewReader(body)); err != nil {
			t.Fatalf("insert: %v", err)
		}
	}
	count := func() (rows, parts uint64) {
		t.Helper()
		err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(_part) FROM t").Scan(&rows, &parts)
		if err != nil {
			t.Fatalf("count: %v", err)
		}
		return rows, parts
	}
	insert("one")
	if rows, parts := count(); rows != 20_000 || parts != 1 {
		t.Errorf("%d rows in %d parts, want 20000 in 1", rows, parts)
	}
	insert("one")
	if rows, _ := count(); rows != 20_000 {
		t.Errorf("%d rows after the same token again, want 20000", rows)
	}
	insert("two")
	if rows, _ := count(); rows != 40_000 {
		t.Errorf("%d rows after another token, want 40000", rows)
	}
}

func TestFormatsAreOneDocument(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	const q = "SELECT number FROM numbers(300000)"
	if got := bytes.Count(format(t, conn, "CSVWithNames", q), []byte(`"number"`)); got != 1 {
		t.Errorf("CSVWithNames has %d headers, want 1", got)
	}
	if got := bytes.Count(format(t, conn, "JSON", q), []byte(`"meta"`)); got != 1 {
		t.Errorf("JSON has %d envelopes, want 1", got)
	}
	if p := format(t, conn, "Parquet", q); !bytes.HasPrefix(p, []byte("PAR1")) || bytes.Count(p, []byte("PAR1")) != 2 {
		t.Errorf("Parquet of %d bytes is not one file", len(p))
	}
	if got := string(format(t, conn, "JSONEachRow", "SELECT 1 AS a WHERE 0")); got != "" {
		t.Errorf("no rows = %q, want nothing", got)
	}
}

func TestInlineDataIsInserted(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	mustExec(t, conn, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
	mustExec(t, conn, "INSERT INTO t (a, s) VALUES (1, 'x;y'), (2, upper('z')) ;")
	mustExec(t, conn, "INSERT INTO t SETTINGS max_threads = 1 FORMAT JSONEachRow\n{\"a\":3,\"s\":\"j\"}\n")
	mustExec(t, conn, "INSERT INTO t SELECT number + 4, 'n' FROM numbers(2)")
	if got, want := string(format(t, conn, "CSV", "SELECT * FROM t ORDER BY a")), "1,\"x;y\"\n2,\"Z\"\n3,\"j\"\n4,\"n\"\n5,\"n\"\n"; got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
}

func open(t testing.TB, opts *clickhouse.Options) driver.Conn {
	t.Helper()
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func mustExec(t testing.TB, conn driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := conn.Exec(context.WithoutCancel(t.Context()), sql, args...); err != nil {
		t.Fatalf("%.80s: %v", sql, err)
	}
}
