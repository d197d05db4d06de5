package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// running counts the statements whose text contains mark.
func running(t testing.TB, conn driver.Conn, mark string) uint64 {
	t.Helper()
	var n uint64
	// In two pieces, so that this statement does not count itself.
	sql := fmt.Sprintf("SELECT count() FROM system.processes WHERE position(query, concat('%s', '%s')) > 0", mark[:1], mark[1:])
	if err := conn.QueryRow(context.WithoutCancel(t.Context()), sql).Scan(&n); err != nil {
		t.Fatalf("list statements: %v", err)
	}
	return n
}

func TestClientThatLeavesStopsItsQuery(t *testing.T) {
	e := chtest.Start(t)
	conn := e.Open(t, "")
	for name, sql := range map[string]string{
		"aggregation":     "SELECT sum(number), 'leave-1' FROM numbers(1000000000000)",
		"scalar subquery": "SELECT 'leave-2', (SELECT sum(number) FROM numbers(1000000000000))",
		"long result":     "SELECT number, 'leave-3' FROM numbers(1000000000000)",
		"parameters":      "SELECT sum(number), 'leave-5' FROM numbers({n:UInt64})",
		"insert select":   "INSERT INTO FUNCTION null('a UInt64, b String') SELECT number, 'leave-4' FROM numbers(1000000000000)",
	} {
		t.Run(name, func(t *testing.T) {
			mark := sql[strings.Index(sql, "leave-"):][:len("leave-0")]
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"n": "1000000000000"}))
			ended := make(chan error, 1)
			go func() {
				r, err := e.Open(t, "").QueryFormat(ctx, "Native", sql)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					_ = r.Close()
				}
				ended <- err
			}()
			timetest.Eventually(t, "statement runs", func() bool { return running(t, conn, mark) > 0 })
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("statement ended with %v, want %v", err, context.Canceled)
			}
			timetest.Eventually(t, "statement stops", func() bool { return running(t, conn, mark) == 0 })
		})
	}
}

// blockThenFail hands out data and then blocks until ctx is done, or fails at once.
type blockThenFail struct {
	ctx  context.Context
	data io.Reader
}

func (b *blockThenFail) Read(p []byte) (int, error) {
	if n, _ := b.data.Read(p); n > 0 {
		return n, nil
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func TestBrokenOffInsertAddsNothing(t *testing.T) {
	e := chtest.Start(t)
	conn := e.Open(t, chtest.Database(t))
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	block := nativeBytes(t, conn, "SELECT number AS a FROM numbers(1000)")
	for name, c := range map[string]*clickhouse.Compression{"plain": nil, "gzip": {Method: clickhouse.CompressionGZIP, Level: 1}} {
		ctx, cancel := context.WithCancel(t.Context())
		opts := e.WriterOptions()
		opts.Auth.Database = currentDatabase(t, conn)
		opts.Compression = c
		broken := open(t, opts)
		ended := make(chan error, 1)
		go func() {
			ended <- broken.InsertFormat(ctx, "Native", "INSERT INTO t SETTINGS max_threads = 1", &blockThenFail{ctx, bytes.NewReader(bytes.Repeat(block, 300))})
		}()
		timetest.Eventually(t, "insert runs", func() bool { return running(t, conn, "INSERT INTO t SETTINGS") > 0 })
		cancel()
		if err := <-ended; err == nil {
			t.Errorf("%s: an insert whose body broke off succeeded", name)
		}
		timetest.Eventually(t, "insert ends", func() bool { return running(t, conn, "INSERT INTO t SETTINGS") == 0 })
	}
	if got := string(nativeBytes(t, conn, "SELECT 1 FROM t LIMIT 1")); got != "" {
		t.Errorf("rows of a body that broke off are in the table")
	}
}

func currentDatabase(t *testing.T, conn driver.Conn) (name string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT currentDatabase()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTruncatedNativeBodyIsAnError(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	block := nativeBytes(t, conn, "SELECT number AS a FROM numbers(1000)")
	for _, cut := range []int{1, 7, len(block) / 2} {
		err := conn.InsertFormat(t.Context(), "Native", "INSERT INTO t", bytes.NewReader(block[:len(block)-cut]))
		if code, _ := codeOf(err); code == 0 {
			t.Errorf("body short of %d bytes: %v, want an exception", cut, err)
		}
	}
	if got := nativeBytes(t, conn, "SELECT 1 FROM t LIMIT 1"); len(got) != 0 {
		t.Error("rows of a truncated body are in the table")
	}
}

func TestEarlyErrorReachesClientThatStillSends(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	for range 5 {
		err := conn.InsertFormat(t.Context(), "Native", "INSERT INTO no_such_table", io.LimitReader(zeros{}, 64<<20))
		if code, status := codeOf(err); code != 60 || status != 404 {
			t.Fatalf("code %d, status %d (%v), want 60, 404", code, status, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBigResultsAndBodiesStream(t *testing.T) {
	const bound = 150 << 20 // of growth; the data are 480 MB each way
	e := chtest.StartOwn(t, chtest.Options(""))
	conn := e.Open(t, "")
	mustExec(t, conn, "CREATE TABLE void (a UInt64) ENGINE = Null")
	before := residentBytes(t, e.PID(), "VmRSS")
	r, err := conn.QueryFormat(t.Context(), "Native", "SELECT number AS a FROM numbers(60000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := &countingReader{r: r}
	if err := conn.InsertFormat(t.Context(), "Native", "INSERT INTO void", n); err != nil {
		t.Fatal(err)
	}
	if n.n < 480_000_000 {
		t.Errorf("moved %d bytes, want at least 480 MB", n.n)
	}
	grown := residentBytes(t, e.PID(), "VmHWM") - before
	t.Logf("%d MB moved, engine grew by %d MB", n.n>>20, grown>>20)
	if grown > bound {
		t.Errorf("engine grew by %d MB, want at most %d MB", grown>>20, bound>>20)
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func TestSlowReaderHoldsTheEngineBack(t *testing.T) {
	e := chtest.Start(t)
	conn := e.Open(t, "")
	before := residentBytes(t, e.PID(), "VmRSS")
	r, err := conn.QueryFormat(t.Context(), "Native", "SELECT number, 'slow-reader' FROM numbers(1000000000)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	// While the client does not read, another statement takes its time.
	mustExec(t, conn, "SELECT sleep(1)")
	if grown := residentBytes(t, e.PID(), "VmRSS") - before; grown > 200<<20 {
		t.Errorf("engine grew by %d MB for a result that nobody reads", grown>>20)
	}
	began := time.Now()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "abandoned statement stops", func() bool { return running(t, conn, "slow-reader") == 0 })
	if took := time.Since(began); took > time.Minute {
		t.Errorf("abandoned statement stopped after %v", took)
	}
}

func TestStallTimeoutIsForClientsNotForStatements(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.StallTimeout = time.Second // the honest client may not be away for as long, nor may a statement be as short
	e := chtest.StartOwn(t, opts)
	clientOpts := e.WriterOptions()
	clientOpts.MaxOpenConns = 1 // one connection, again and again
	conn := open(t, clientOpts)
	mustExec(t, conn, "CREATE TABLE t (a UInt64, b UInt8 DEFAULT sleep(2)) ENGINE = MergeTree ORDER BY a")
	for range 2 {
		mustExec(t, conn, "SELECT sleep(2)")
		if err := conn.InsertFormat(t.Context(), "TSV", "INSERT INTO t (a)", strings.NewReader("1\n2\n")); err != nil {
			t.Errorf("insert that takes its time: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := conn.InsertFormat(t.Context(), "TSV", "INSERT INTO t (a)", &blockThenFail{ctx, strings.NewReader("1\n2\n")})
	if err == nil || ctx.Err() != nil {
		t.Errorf("insert of a client that stalls = %v, context %v; want an error before the context ends", err, ctx.Err())
	}
	var n uint64
	if err := conn.QueryRow(t.Context(), "SELECT count() FROM t").Scan(&n); err != nil || n != 4 {
		t.Errorf("rows = %d, %v, want 4", n, err)
	}

	r, err := conn.QueryFormat(t.Context(), "Native", "SELECT number, 'never-read' FROM numbers(1000000000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	watcher := e.Open(t, "")
	timetest.Eventually(t, "statement whose result nobody takes stops", func() bool { return running(t, watcher, "never-read") == 0 })
}
