package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
)

func TestReaderCannotWriteOrReachOut(t *testing.T) {
	db := chtest.Database(t)
	e := chtest.Start(t)
	w := e.Open(t, db)
	mustExec(t, w, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	mustExec(t, w, "INSERT INTO t VALUES (1)")
	r := e.OpenReader(t, db)
	outside := filepath.Join(t.TempDir(), "outside") // of the engine's directory
	for _, sql := range []string{
		"INSERT INTO t VALUES (2)",
		"INSERT INTO t FORMAT TSV\n2\n",
		"INSERT INTO t SELECT 2",
		"INSERT INTO FUNCTION file('OUTSIDE') SELECT 1",
		"CREATE TABLE u (a UInt8) ENGINE = Memory",
		"CREATE TEMPORARY TABLE u (a UInt8)",
		"CREATE DATABASE other",
		"CREATE FUNCTION f AS x -> x",
		"ALTER TABLE t DELETE WHERE 1",
		"DROP TABLE t",
		"TRUNCATE TABLE t",
		"OPTIMIZE TABLE t",
		"RENAME TABLE t TO u",
		"ATTACH TABLE u",
		"SYSTEM SHUTDOWN",
		"KILL QUERY WHERE 1",
		"BACKUP TABLE t TO File('x')",
		"SET max_threads = 3",
		"SET readonly = 0",
		"USE system",
		"SELECT * FROM t SETTINGS readonly = 0",
		"SELECT * FROM t SETTINGS max_threads = 3",
		"SELECT * FROM t; DROP TABLE t",
		"SELECT * FROM t FORMAT TSV SETTINGS readonly = 0",
		"EXPLAIN INSERT INTO t VALUES (3); SELECT 1",
		"SELECT * FROM file('/etc/passwd', 'LineAsString')",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
		"SELECT * FROM remote('127.0.0.1:1', 'system.one')",
		"SELECT * FROM s3('http://127.0.0.1:1/x', 'TSV')",
		"SELECT * FROM loop(t)",
		"SELECT * FROM executable('x', 'TSV', 'a String')",
		"SELECT * FROM t INTO OUTFILE 'OUTSIDE'",
		"SELECT * FROM t INTO OUTFILE 'OUTSIDE' TRUNCATE FORMAT TSV",
		"SELECT * FROM t INTO OUTFILE 'OUTSIDE' --",
		"SELECT * FROM t INTO OUTFILE 'OUTSIDE' /*",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		rows, err := r.Query(ctx, strings.ReplaceAll(sql, "OUTSIDE", outside))
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
		}
		cancel()
		if code, _ := codeOf(err); code == 0 {
			t.Errorf("reader: %q passed (%v)", sql, err)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("reader: a file was written")
	}
	for _, s := range []clickhouse.Settings{{"readonly": 0}, {"readonly": 2}, {"max_threads": "1', readonly = '0"}} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(s))
		if code, _ := codeOf(r.Exec(ctx, "SELECT 1")); code == 0 {
			t.Errorf("reader: setting %v passed", s)
		}
	}
	var n uint64
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_rows_to_read": 10, "log_comment": "x"}))
	if err := r.QueryRow(ctx, "SELECT sum(a) FROM t").Scan(&n); err != nil || n != 1 {
		t.Errorf("reader: sum = %d, %v, want 1", n, err)
	}
	var ro uint64
	if err := r.QueryRow(ctx, "SELECT toUInt64(getSetting('readonly'))").Scan(&ro); err != nil || ro != 1 {
		t.Errorf("reader: readonly = %d, %v, want 1", ro, err)
	}
}

// A pool of the writing identity can declare itself to be reading, as one account of a server would.
func TestWriterMayAskForReadonly(t *testing.T) {
	db := chtest.Database(t)
	opts := chtest.Start(t).WriterOptions()
	opts.Auth.Database = db
	opts.Settings = clickhouse.Settings{"readonly": 2, "max_threads": 1}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var n uint8
	if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&n); err != nil || n != 1 {
		t.Errorf("SELECT 1 = %d, %v", n, err)
	}
	if code, _ := codeOf(conn.Exec(t.Context(), "CREATE TABLE t (a UInt8) ENGINE = Memory")); code != 164 {
		t.Errorf("CREATE under readonly: code %d, want 164", code)
	}
	opts.Settings = clickhouse.Settings{"readonly": "1, max_threads = 7"}
	if bad, err := clickhouse.Open(opts); err != nil || bad.Exec(t.Context(), "SELECT 1") == nil {
		t.Errorf("a readonly that is no number passed (%v)", err)
	}
}

// counting is a body that must not be read.
type counting struct{ n atomic.Int64 }

func (c *counting) Read(p []byte) (int, error) {
	if c.n.Add(int64(len(p))) > 64<<20 {
		return 0, io.EOF
	}
	return len(p), nil
}

func TestWithoutSecretNothingRuns(t *testing.T) {
	e := chtest.Start(t)
	writer, reader := e.WriterOptions().Auth.Password, e.ReaderOptions().Auth.Password
	if writer == reader || len(writer) < 20 || len(reader) < 20 {
		t.Fatalf("secrets %q and %q: want two long different ones", writer, reader)
	}
	for name, tc := range map[string]struct {
		user, password string
		code, status   int
	}{
		"none":            {"", "", 194, 401},
		"empty password":  {"headgate", "", 194, 401},
		"wrong password":  {"headgate", "x", 516, 403},
		"reader's secret": {"headgate", reader, 516, 403},
		"writer's secret": {"reader", writer, 516, 403},
		"other user":      {"default", writer, 516, 403},
		"longer":          {"headgate", writer + "x", 516, 403},
	} {
		resp, err := post(t.Context(), e, "query=SELECT+1", tc.user, tc.password, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tc.status || !strings.Contains(string(b), "Code: "+map[int]string{194: "194", 516: "516"}[tc.code]) {
			t.Errorf("%s: %d %s, want %d and code %d", name, resp.StatusCode, b, tc.status, tc.code)
		}
	}

	body := new(counting)
	resp, err := post(t.Context(), e, "query=INSERT+INTO+t+FORMAT+TSV", "headgate", "x", body, nil)
	if err == nil {
		_ = resp.Body.Close()
	}
	if n := body.n.Load(); n > 16<<20 {
		t.Errorf("%d bytes of a body without a secret were taken", n)
	}

	opts := e.WriterOptions()
	opts.Auth.Password = "wrong"
	if code, status := codeOf(open(t, opts).Ping(t.Context())); code != 516 || status != 403 {
		t.Errorf("driver with a wrong secret: code %d, status %d, want 516, 403", code, status)
	}
}

func TestCredentialsTravelAsClickHouseTakesThem(t *testing.T) {
	e := chtest.Start(t)
	secret := e.WriterOptions().Auth.Password
	for name, tc := range map[string]struct {
		query  string
		header http.Header
	}{
		"headers": {"query=SELECT+1", http.Header{"X-Clickhouse-User": {"headgate"}, "X-Clickhouse-Key": {secret}}},
		"url":     {"query=SELECT+1&user=headgate&password=" + secret, nil},
	} {
		resp, err := post(t.Context(), e, tc.query, "", "", nil, tc.header)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s: status %d, want 200", name, resp.StatusCode)
		}
	}
}

func TestSecretsAreNotVisibleToOthers(t *testing.T) {
	e := chtest.Start(t)
	for _, file := range []string{"cmdline", "environ"} {
		b, err := readProc(e.PID(), file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{e.WriterOptions().Auth.Password, e.ReaderOptions().Auth.Password} {
			if strings.Contains(b, s) {
				t.Errorf("a secret is in the child's %s", file)
			}
		}
	}
	var ex *clickhouse.Exception
	err := e.Open(t, "").Exec(t.Context(), "SELECT x")
	if !errors.As(err, &ex) || strings.Contains(ex.Message, e.WriterOptions().Auth.Password) {
		t.Errorf("error text %v", err)
	}
}
