package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/plan"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// The fixture's hour. Every test reads all of it unless it says otherwise.
var (
	hourStart = time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)
	hourEnd   = hourStart.Add(time.Hour)
)

func hour() Bounds { return Bounds{Start: hourStart, End: hourEnd, Now: hourEnd, Limit: 1000} }

// store is a database with the telemetry tables.
type store struct {
	t      testing.TB
	name   string
	writer driver.Conn
	reader *Reader
}

func newStore(t testing.TB) *store {
	t.Helper()
	name := chtest.Database(t)
	engine := chtest.Start(t)
	s := &store{t: t, name: name, writer: engine.Open(t, name)}
	s.reader = NewReader(engine.OpenReader(t, name), ReaderOptions{Limits: Limits{MaxThreads: 1}})
	s.migrate()
	return s
}

func (s *store) migrate() {
	s.t.Helper()
	if err := storage.Migrate(s.t.Context(), s.writer, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) exec(sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.writer.Exec(ctx, sql); err != nil {
		s.t.Fatalf("%.300s: %v", sql, err)
	}
}

// row is one row to insert; what it lacks is the column's default.
type row map[string]any

func (s *store) insert(table string, rows ...row) {
	s.t.Helper()
	var body strings.Builder
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			s.t.Fatal(err)
		}
		body.Write(line)
		body.WriteByte('\n')
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := s.writer.InsertFormat(ctx, "JSONEachRow", "INSERT INTO "+table, strings.NewReader(body.String())); err != nil {
		s.t.Fatalf("insert into %s: %v", table, err)
	}
}

// at is the time of the fixture so many seconds after its start, in the form that inserts take.
func at(seconds float64) string {
	return hourStart.Add(time.Duration(seconds * float64(time.Second))).Format("2006-01-02 15:04:05.000000000")
}

// ask runs a query for the scope and returns the rows, each as its JSON values by column name.
func (s *store) ask(scope tenant.Scope, b Bounds, text string) ([]map[string]any, error) {
	s.t.Helper()
	p, err := oql.Parse(text)
	if err != nil {
		return nil, err
	}
	st, err := Print(p, scope, b)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	res, err := s.reader.Run(ctx, st, Rows)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, st.sql)
	}
	defer res.Close()
	var out []map[string]any
	for {
		values, err := res.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		m := map[string]any{}
		for i, c := range res.Columns() {
			var v any
			dec := json.NewDecoder(bytes.NewReader(values[i]))
			dec.UseNumber() // integers keep all their digits
			if err := dec.Decode(&v); err != nil {
				return nil, fmt.Errorf("column %s: %q: %w", c.Name, values[i], err)
			}
			m[c.Name] = v
		}
		out = append(out, m)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func mustParse(t testing.TB, text string) *plan.Plan {
	t.Helper()
	p, err := oql.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newTestReader(t testing.TB, opts *clickhouse.Options) *Reader {
	t.Helper()
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return NewReader(conn, ReaderOptions{})
}
