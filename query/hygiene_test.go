package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// TestNoEngineTextReachesACaller provokes exceptions of many codes, before the first row and after, with a canary in the
// statement. What a caller gets is one of our own texts, whole.
func TestNoEngineTextReachesACaller(t *testing.T) {
	s := newStore(t)
	s.fill(false)
	codes := map[int32]bool{}
	conn := &overheard{Conn: chtest.Start(t).OpenReader(t, s.name), each: func(err error) {
		var ex *clickhouse.Exception
		if errors.As(err, &ex) {
			codes[ex.Code] = true
		}
	}}
	known := map[string]bool{}
	for _, e := range []httpapi.Error{tooMuchData, timeout, busy, cancelled, unavailable, failed} {
		known[e.Code+e.Title+e.Detail] = true
	}
	for _, e := range engineFailures {
		known[e.Code+e.Title+e.Detail] = true
	}
	many := "SELECT number FROM numbers(100000000000)"
	for sql, l := range map[string]Limits{
		"SELECT 1 FROM secret_canary":                                                                                {},
		"SELECT secret_canary FROM otel_logs":                                                                        {},
		"SELECT secret_canary(1)":                                                                                    {},
		"SELECT toUInt8('secret_canary')":                                                                            {},
		"SELECT throwIf(1, 'secret_canary')":                                                                         {},
		"SELECT throwIf(number = 3000000, 'secret_canary') FROM numbers(4000000)":                                    {},
		"SELECT intDiv(1, length(Body) * 0) FROM otel_logs WHERE Body != 'secret_canary'":                            {},
		"SELECT length('secret_canary', 2)":                                                                          {},
		"SELECT 1 + 'secret_canary'":                                                                                 {},
		"SELECT sum(sum(1)), 'secret_canary'":                                                                        {},
		"SELECT Body, count() FROM otel_logs WHERE Body != 'secret_canary'":                                          {},
		"SELECT match('secret_canary', '(')":                                                                         {},
		"SELECT match('secret_canary', '(a{1,1000}){1,1000}')":                                                       {},
		"SELECT toDateTime('secret_canary')":                                                                         {},
		"SELECT CAST('secret_canary', 'Enum8(1)')":                                                                   {},
		"SELECT JSONExtract('secret_canary', 'secret_canary')":                                                       {},
		"SELECT {secret_canary:String}":                                                                              {},
		"SELECT (SELECT number FROM numbers(2)), 'secret_canary'":                                                    {},
		"SELECT arrayJoin('secret_canary')":                                                                          {},
		"SELECT 1 UNION ALL SELECT 1, 'secret_canary'":                                                               {},
		"SELECT * FROM otel_logs AS a JOIN otel_logs AS b ON secret_canary":                                          {},
		"SELECT 'secret_canary":                                                                                      {},
		"SELECT 1; SELECT 'secret_canary'":                                                                           {},
		"INSERT INTO otel_logs (Body) VALUES ('secret_canary')":                                                      {},
		"SELECT * FROM file('/secret_canary', 'LineAsString')":                                                       {},
		"DROP TABLE secret_canary":                                                                                   {},
		"SELECT count(), 'secret_canary' FROM (" + many + ")":                                                        {MaxExecution: 100 * time.Millisecond},
		"SELECT 'secret_canary', number FROM numbers(100000000) GROUP BY number":                                     {MaxMemoryBytes: 30 << 20, MaxGroups: 1 << 40},
		"SELECT count(), 'secret_canary' FROM (SELECT number FROM numbers(5000000))":                                 {MaxRowsToRead: 1000},
		"SELECT sum(number), 'secret_canary' FROM numbers(5000000)":                                                  {MaxBytesToRead: 1000},
		"SELECT number, 'secret_canary' FROM numbers(1000000) GROUP BY number":                                       {MaxGroups: 100},
		"SELECT count(), 'secret_canary' FROM numbers(10) AS a JOIN numbers(100000) AS b ON a.number = b.number % 7": {MaxJoinKeys: 10},
	} {
		r := NewReader(conn, ReaderOptions{Limits: l})
		st := Stmt{sql: sql, scope: chtest.Scope(t, "a"), limit: 1 << 30, columns: make([]Column, 1)}
		err := drained(t, r, st)
		var e *httpapi.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want a failure of our own", sql, err)
			continue
		}
		text, _ := json.Marshal(e)
		if !known[e.Code+e.Title+e.Detail] || strings.Contains(string(text)+fmt.Sprint(e.Extra, e.Header, err), "canary") {
			t.Errorf("%s: %s %v", sql, text, e.Extra)
		}
	}
	t.Logf("codes seen: %v", codes)
	if len(codes) < 20 {
		t.Errorf("only %d different codes of the engine were provoked: %v", len(codes), codes)
	}
}

// drained runs a statement to its end and returns why it failed.
func drained(t *testing.T, r *Reader, st Stmt) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := r.Run(ctx, st, Rows)
	if err != nil {
		return err
	}
	defer res.Close()
	for {
		if _, err := res.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// overheard tells of each statement's failure and settings.
type overheard struct {
	driver.Conn
	each func(error)
}

func (o *overheard) QueryFormat(ctx context.Context, format, query string, args ...any) (io.ReadCloser, error) {
	r, err := o.Conn.QueryFormat(ctx, format, query, args...)
	o.each(err)
	return heard{r, o.each}, err
}

type heard struct {
	io.ReadCloser
	each func(error)
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.each(err)
	return n, err
}
