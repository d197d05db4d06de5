package otlp

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// What the engine stores and gives back is what the reference says, in every column, and the rows lie in the days that
// the decoder has announced.
func TestRowsComeBackFromTheEngine(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	if err := storage.Migrate(t.Context(), conn, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	st := testStamp(t)
	st.RetentionDays = 60_000
	d := NewDecoder(Limits{})
	want := map[string][]row{}
	sent := map[string][]byte{}
	days := map[string]map[uint16]bool{}
	for _, sig := range signals {
		for seed := range uint64(100) {
			body := newGen(1000+seed).request(t, sig)
			res, err := d.Decode(sig, body, st)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := reference(sig, body, st)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range res.Rows {
				sent[r.Table] = r.Encode().AppendTo(sent[r.Table], testRunID)
				want[r.Table] = append(want[r.Table], ref.tables[r.Table]...)
				for _, day := range r.Days {
					if days[r.Table] == nil {
						days[r.Table] = map[uint16]bool{}
					}
					days[r.Table][day] = true
				}
			}
		}
	}
	for table, blocks := range sent { // as a flush does: blocks of many requests, some with rare columns and some without
		chtest.Insert(t, conn, table, blocks)
	}
	for table := range sent {
		t.Run(table, func(t *testing.T) {
			if len(want[table]) == 0 {
				t.Fatal("no rows were sent")
			}
			got := stored(t, conn, table, want[table][0])
			if expect := lines(want[table]); !slices.Equal(got, expect) {
				for i := range min(len(got), len(expect)) {
					if got[i] != expect[i] {
						t.Fatalf("%d rows, want %d; first difference:\n got %s\nwant %s", len(got), len(expect), got[i], expect[i])
					}
				}
				t.Fatalf("%d rows, want %d", len(got), len(expect))
			}
			checkDays(t, conn, table, days[table])
			checkFilled(t, want[table])
		})
	}
}

// lines writes rows as sorted text.
func lines(rows []row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		keys := make([]string, 0, len(r))
		for k := range r {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out[i] += fmt.Sprintf("%s=%s|", k, r[k])
		}
	}
	slices.Sort(out)
	return out
}

func stored(t *testing.T, conn driver.Conn, table string, columns row) []string {
	t.Helper()
	var names []string
	for c := range columns {
		names = append(names, c)
	}
	rows, err := conn.Query(t.Context(), "SELECT `"+strings.Join(names, "`, `")+"` FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var out []row
	for rows.Next() {
		dest := make([]any, len(names))
		for i, c := range rows.ColumnTypes() {
			dest[i] = reflect.New(c.ScanType()).Interface()
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		r := row{}
		for i, name := range names {
			r[name] = show(reflect.ValueOf(dest[i]).Elem().Interface())
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines(out)
}

// checkFilled fails t for a column that has nothing in any row: its field was not sent, so nothing was proved about it.
func checkFilled(t *testing.T, rows []row) {
	t.Helper()
	for column := range rows[0] {
		if !slices.ContainsFunc(rows, func(r row) bool {
			return !slices.Contains([]string{"", "0", "[]", "{}", "NULL", "false"}, r[column]) && strings.Trim(r[column], `[" 0]`) != ""
		}) {
			t.Errorf("column %s is empty in all %d rows", column, len(rows))
		}
	}
}

// checkDays compares the announced days with what the partition key makes of the rows.
func checkDays(t *testing.T, conn driver.Conn, table string, announced map[uint16]bool) {
	t.Helper()
	column := "TimeUnix"
	if table == schema.Logs || table == schema.Traces || table == schema.Profiles {
		column = "Timestamp"
	}
	var got []uint16
	query := fmt.Sprintf("SELECT groupUniqArray(toUInt16(toDate(%s))) FROM %s", column, table)
	if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil {
		t.Fatal(err)
	}
	var want []uint16
	for day := range announced {
		want = append(want, day)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("days %v, announced %v", got, want)
	}
}

// Each table's columns are those of the migration, apart from RunId and what ClickHouse always computes itself.
func TestTablesHaveTheColumnsOfTheSchema(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	if err := storage.Migrate(t.Context(), conn, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(Limits{})
	for _, tables := range d.tables {
		for _, table := range tables {
			var want []string
			if err := conn.QueryRow(t.Context(), "SELECT groupArray(name) FROM (SELECT name FROM system.columns WHERE database = currentDatabase() "+
				"AND table = $1 AND default_kind != 'MATERIALIZED' AND name != 'RunId' ORDER BY position)", table.name).Scan(&want); err != nil {
				t.Fatal(err)
			}
			if got := table.b.Names(); !slices.Equal(got, want) {
				t.Errorf("%s:\n got %v\nwant %v", table.name, got, want)
			}
		}
	}
}
