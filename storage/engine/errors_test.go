package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
)

// codeOf returns the exception code and the HTTP status in err, 0 for none.
func codeOf(err error) (code int32, status int) {
	var ex *clickhouse.Exception
	if errors.As(err, &ex) {
		code = ex.Code
	}
	var he *clickhouse.HTTPError
	if errors.As(err, &he) {
		status = he.StatusCode
	}
	return code, status
}

func TestErrorsCarryCodeAndStatus(t *testing.T) {
	db := chtest.Database(t)
	conn := chtest.Start(t).Open(t, db)
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	for sql, want := range map[string]struct {
		code   int32
		status int
	}{
		"SELEC 1":                              {62, 400},
		"":                                     {62, 400},
		"-- nothing":                           {62, 400},
		"SELECT (":                             {62, 400},
		"SELECT 'unterminated":                 {62, 400},
		"SELECT 1; SELECT 2":                   {62, 400},
		"DROP TABLE t; SELECT 2":               {62, 400},
		"DROP TABLE t; SELEC":                  {62, 400},
		"SELECT * FROM missing":                {60, 404},
		"SELECT missing":                       {47, 404},
		"SELECT missing()":                     {46, 404},
		"SELECT throwIf(1)":                    {395, 500},
		"SELECT 1 FORMAT Missing":              {73, 404},
		"SELECT 1 SETTINGS missing = 1":        {115, 404},
		"SELECT 1 SETTINGS max_threads = 'x'":  {27, 400},
		"INSERT INTO missing VALUES (1)":       {60, 404},
		"INSERT INTO t VALUES ('x')":           {6, 400},
		"INSERT INTO t FORMAT TSV\nx\n":        {27, 400},
		"CREATE TABLE t (a Int8) ENGINE = Log": {57, 500},
	} {
		err := conn.Exec(t.Context(), sql)
		if code, status := codeOf(err); code != want.code || status != want.status {
			t.Errorf("Exec(%q) = code %d, status %d (%v), want %d, %d", sql, code, status, err, want.code, want.status)
		}
	}
	if err := conn.Exec(t.Context(), "SELECT count() FROM t;\n-- done"); err != nil {
		t.Errorf("a refused text ran in part, or the table is lost: %v", err)
	}
}

func TestSettingsAreRefusedAsByServer(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	for name, tc := range map[string]struct {
		settings clickhouse.Settings
		code     int32
	}{
		"unknown":         {clickhouse.Settings{"no_such_setting": 1}, 115},
		"bad value":       {clickhouse.Settings{"max_threads": "many"}, 27},
		"no name":         {clickhouse.Settings{"max_threads = 1, readonly": 1}, 36},
		"session":         {clickhouse.Settings{"session_id": "x"}, 48},
		"applied":         {clickhouse.Settings{"max_result_rows": 1, "result_overflow_mode": "throw"}, 396},
		"quoted as given": {clickhouse.Settings{"log_comment": `a'b\c,"d`}, 0},
	} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(tc.settings))
		rows, err := conn.Query(ctx, "SELECT number, getSetting('log_comment') FROM numbers(2)")
		if code, _ := codeOf(err); code != tc.code {
			t.Errorf("%s: code %d (%v), want %d", name, code, err, tc.code)
		}
		if err != nil {
			continue
		}
		var n uint64
		var comment string
		for rows.Next() {
			if err := rows.Scan(&n, &comment); err != nil {
				t.Fatal(err)
			}
		}
		if want := tc.settings["log_comment"]; comment != want {
			t.Errorf("%s: log_comment = %q, want %q", name, comment, want)
		}
	}
}

func TestSettingsEndWithTheRequest(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"log_comment": "mine"}))
	if err := conn.Exec(ctx, "SELECT 1 SETTINGS max_threads = 7"); err != nil {
		t.Fatal(err)
	}
	var comment string
	var threads uint64
	if err := conn.QueryRow(t.Context(), "SELECT getSetting('log_comment'), toUInt64(getSetting('max_threads'))").Scan(&comment, &threads); err != nil {
		t.Fatal(err)
	}
	if comment != "" || threads == 7 {
		t.Errorf("log_comment = %q, max_threads = %d: left over from another request", comment, threads)
	}
}

func TestParametersAreBoundNotSpliced(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	mustExec(t, conn, "CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY s")
	for _, s := range []string{"", "plain", "it's", `"quoted"`, "`tick`", "{p:String}", "'; DROP TABLE t --", "/* */ $x$", "ü€😀", "a&b=c%20d+e", "x\\ny"} {
		// A parameter's value is text in escaped form: the caller escapes the backslash.
		ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"p": strings.ReplaceAll(s, `\`, `\\`)}))
		var got string
		if err := conn.QueryRow(ctx, "SELECT {p:String}").Scan(&got); err != nil || got != s {
			t.Errorf("SELECT of %q = %q, %v", s, got, err)
		}
		if err := conn.Exec(ctx, "INSERT INTO t SELECT {p:String}"); err != nil {
			t.Errorf("INSERT SELECT of %q: %v", s, err)
		}
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"ids": "['a','b\\'c']", "n": "7"}))
	var ids []string
	var n uint8
	if err := conn.QueryRow(ctx, "SELECT {ids:Array(String)}, {n:UInt8}").Scan(&ids, &n); err != nil || len(ids) != 2 || ids[1] != "b'c" || n != 7 {
		t.Errorf("array parameter = %q, %d, %v", ids, n, err)
	}
	if code, _ := codeOf(conn.Exec(t.Context(), "SELECT {p:String}")); code != 456 {
		t.Errorf("missing parameter: code %d, want 456", code)
	}
}

func TestUnknownDatabaseIsAnError(t *testing.T) {
	opts := chtest.Start(t).WriterOptions()
	opts.Auth.Database = "no_such`database"
	// The driver's hello needs no database.
	if code, status := codeOf(open(t, opts).Exec(t.Context(), "SELECT 1")); code != 81 || status != 404 {
		t.Errorf("code %d, status %d, want 81, 404", code, status)
	}
}

func TestFailureAfterFirstByteIsAnError(t *testing.T) {
	const q = "SELECT throwIf(number = 100000), number FROM numbers(200000) SETTINGS max_block_size = 1000, max_threads = 1"
	for name, c := range map[string]*clickhouse.Compression{
		"plain": nil, "lz4": {Method: clickhouse.CompressionLZ4}, "gzip": {Method: clickhouse.CompressionGZIP, Level: 1},
	} {
		opts := chtest.Start(t).WriterOptions()
		opts.Compression = c
		opts.Settings = clickhouse.Settings{"enable_http_compression": 1}
		conn := open(t, opts)

		rows, err := conn.Query(t.Context(), q)
		n := 0
		if err == nil {
			for rows.Next() {
				n++
			}
			err = rows.Err()
		}
		if code, _ := codeOf(err); code != 395 || n == 0 {
			t.Errorf("%s: Query read %d rows, then code %d (%v), want some and 395", name, n, code, err)
		}
		for _, format := range []string{"Native", "JSON", "CSVWithNames", "JSONEachRow"} {
			r, err := conn.QueryFormat(t.Context(), format, q)
			if err != nil {
				t.Errorf("%s: QueryFormat %s: %v", name, format, err)
				continue
			}
			b, err := io.ReadAll(r)
			_ = r.Close()
			if code, _ := codeOf(err); code != 395 || len(b) == 0 {
				t.Errorf("%s: QueryFormat %s read %d bytes, then code %d (%v), want some and 395", name, format, len(b), code, err)
			}
		}
	}
}

// A client that knows nothing of exception blocks must not take half a result for a whole one.
func TestFailureAfterFirstByteBreaksTheConnection(t *testing.T) {
	e := chtest.Start(t)
	resp, err := post(t.Context(), e, "", "headgate", e.WriterOptions().Auth.Password,
		strings.NewReader("SELECT throwIf(number = 100000) FROM numbers(200000) SETTINGS max_block_size = 1000, max_threads = 1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("status %d, body of %d bytes ends with %v, want 200 and %v", resp.StatusCode, len(b), err, io.ErrUnexpectedEOF)
	}
	if tag := resp.Header.Get("X-ClickHouse-Exception-Tag"); len(tag) != 16 || !strings.Contains(string(b), "__exception__\r\n"+tag+"\r\nCode: 395.") {
		t.Errorf("no exception block with tag %q in the body", tag)
	}
}

func TestWaitEndOfQueryKeepsTheStatus(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"wait_end_of_query": 1}))
	_, err := conn.QueryFormat(ctx, "Native", "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 1000, max_threads = 1")
	if code, status := codeOf(err); code != 395 || status != 500 {
		t.Errorf("code %d, status %d (%v), want 395, 500", code, status, err)
	}
}

// post sends a request without the driver.
func post(ctx context.Context, e *chtest.Engine, query, user, password string, body io.Reader, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.Addr()+"/?"+query, body)
	if err != nil {
		return nil, err
	}
	if header != nil {
		r.Header = header
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	return http.DefaultClient.Do(r)
}

func TestPlainHTTPWorksAsDocumented(t *testing.T) {
	e := chtest.Start(t)
	password := e.WriterOptions().Auth.Password
	do := func(query, body string, header http.Header) (int, string, http.Header) {
		t.Helper()
		resp, err := post(t.Context(), e, query, "headgate", password, strings.NewReader(body), header)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header
	}
	if code, body, h := do("query_id=q1", "SELECT 1, 'x'", nil); code != 200 || body != "1\tx\n" ||
		h.Get("X-ClickHouse-Query-Id") != "q1" || h.Get("X-ClickHouse-Format") != "TabSeparated" || h.Get("X-ClickHouse-Timezone") != "UTC" {
		t.Errorf("SELECT = %d %q %v", code, body, h)
	}
	if code, body, h := do("query=SELECT", "1 FORMAT JSONEachRow", nil); code != 200 || body != "{\"1\":1}\n" || h.Get("X-ClickHouse-Format") != "JSONEachRow" {
		t.Errorf("statement in two parts = %d %q %v", code, body, h)
	}
	if code, body, h := do("query=SELECT+x", "", nil); code != 404 || h.Get("X-ClickHouse-Exception-Code") != "47" || !strings.HasPrefix(body, "Code: 47. DB::Exception: ") {
		t.Errorf("error = %d %q %v", code, body, h)
	}
	if _, body, h := do("query=SELECT+count()+FROM+numbers(10)", "", nil); !strings.Contains(h.Get("X-ClickHouse-Summary"), `"read_rows":"10"`) {
		t.Errorf("summary = %q, body %q", h.Get("X-ClickHouse-Summary"), body)
	}
	if code, _, _ := do("query=SELECT+1", "x", http.Header{"Content-Encoding": {"br"}}); code != 415 {
		t.Errorf("unknown content encoding = %d, want 415", code)
	}
	if code, _, _ := do("query=SELECT+1", "x", http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}); code != 501 {
		t.Errorf("external tables = %d, want 501", code)
	}
	resp, err := http.Get("http://" + e.Addr() + "/ping")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "Ok.\n" {
		t.Errorf("/ping = %q", b)
	}
}
