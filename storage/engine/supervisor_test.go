package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/engine"
)

func TestKilledEngineComesBackWithItsData(t *testing.T) {
	e := chtest.StartOwn(t, chtest.Options(""))
	conn := e.Open(t, "")
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	addr := e.Addr()
	for round := range 3 {
		mustExec(t, conn, fmt.Sprintf("INSERT INTO t SELECT %d", round))
		pid := e.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("kill: %v", err)
		}
		// Statements may fail while there is no engine; the same pool works again by itself.
		timetest.Eventually(t, "pool works again", func() bool {
			var n uint64
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := conn.QueryRow(ctx, "SELECT count() FROM t").Scan(&n)
			if err == nil && n != uint64(round+1) {
				t.Fatalf("%d rows after kill %d, want %d", n, round+1, round+1)
			}
			return err == nil
		})
		if got := e.PID(); got == pid || got == 0 {
			t.Errorf("pid after the kill = %d, before %d", got, pid)
		}
	}
	if e.Addr() != addr {
		t.Errorf("address changed from %s to %s", addr, e.Addr())
	}
}

func TestEveryThreadOfTheEngineStandsBack(t *testing.T) {
	parent := niceness(t, os.Getpid())
	opts := chtest.Options("")
	opts.Nice = 7
	e := chtest.StartOwn(t, opts)
	mustExec(t, e.Open(t, ""), "SELECT sum(number) FROM numbers_mt(10000000)")
	if len(parent) != 1 {
		t.Skipf("threads of this process differ already: %v", parent)
	}
	for own := range parent {
		// The library raises the one that watches its memory, where it may.
		if got := niceness(t, e.PID()); got[own+7] < 3 || got[own] > 0 {
			t.Errorf("threads of the engine by niceness: %v, want them at %d", got, own+7)
		}
	}
	timetest.Eventually(t, "the thread that started it ends", func() bool { return len(niceness(t, os.Getpid())) == 1 })
}

// niceness counts a process's threads by it.
func niceness(t *testing.T, pid int) map[int]int {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	by := map[int]int{}
	for _, task := range tasks {
		stat, err := readProc(pid, "task/"+task.Name()+"/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(stat, ") ")
		nice, err := strconv.Atoi(strings.Fields(rest)[16]) // the 19th field, proc(5)
		if err != nil {
			t.Fatalf("stat %q: %v", stat, err)
		}
		by[nice]++
	}
	return by
}

func TestStopLetsStatementsFinish(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.StopTimeout = 30 * time.Second
	e := chtest.StartOwn(t, opts)
	conn := e.Open(t, "")
	mustExec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	inserted := make(chan error, 1)
	go func() {
		inserted <- conn.Exec(context.Background(), "INSERT INTO t SELECT sleepEachRow(0.2) + number FROM numbers(5) SETTINGS max_block_size = 1")
	}()
	watcher := e.Open(t, "")
	timetest.Eventually(t, "insert runs", func() bool { return running(t, watcher, "sleepEachRow") > 0 })
	pid := e.PID()
	e.Stop()
	if err := <-inserted; err != nil {
		t.Errorf("insert under way when the engine was stopped: %v", err)
	}
	if alive(pid) {
		t.Errorf("engine %d lives on", pid)
	}
	again := chtest.StartOwn(t, opts)
	var n uint64
	if err := again.Open(t, "").QueryRow(t.Context(), "SELECT count() FROM t").Scan(&n); err != nil || n != 5 {
		t.Errorf("rows after the restart = %d, %v, want 5", n, err)
	}
}

func TestStopCancelsWhatDoesNotFinish(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.StopTimeout = 200 * time.Millisecond
	e := chtest.StartOwn(t, opts)
	ended := make(chan error, 1)
	conn := e.Open(t, "")
	go func() { ended <- conn.Exec(context.Background(), "SELECT sum(number) FROM numbers(1000000000000)") }()
	watcher := e.Open(t, "")
	timetest.Eventually(t, "statement runs", func() bool { return running(t, watcher, "1000000000000") > 0 })
	began := time.Now()
	e.Stop()
	if err := <-ended; err == nil {
		t.Error("a statement without end succeeded")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("stop took %v", took)
	}
}

func TestSignalStopsTheChildInOrder(t *testing.T) {
	e := chtest.StartOwn(t, chtest.Options(""))
	conn := e.Open(t, "")
	mustExec(t, conn, "SELECT 1")
	pid := e.PID()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, conn, "SELECT sleep(0.2)")
	if got := e.PID(); got != pid {
		t.Errorf("a signal for the terminal's group ended the engine")
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "the next child serves", func() bool { return e.PID() != pid && conn.Ping(t.Context()) == nil })
}

func alive(pid int) bool {
	stat, err := readProc(pid, "stat")
	return err == nil && !strings.Contains(stat, ") Z ")
}

// parentEnv makes TestParent a process of its own that runs an engine until it is killed.
const parentEnv = "HEADGATE_TEST_PARENT_DIR"

func TestParent(t *testing.T) {
	dir := os.Getenv(parentEnv)
	if dir == "" {
		t.Skip("runs inside TestEngineDiesWithItsParent")
	}
	opts := chtest.Options(dir)
	opts.StopTimeout = 5 * time.Minute // the end of the parent alone must end the engine, no last resort
	e := chtest.StartOwn(t, opts)
	_ = json.NewEncoder(os.Stdout).Encode(map[string]int{"engine": e.PID()})
	<-t.Context().Done()
}

func TestEngineDiesWithItsParent(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	parent := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestParent$")
	parent.Env = append(os.Environ(), parentEnv+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var said struct{ Engine int }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil || !alive(said.Engine) {
		t.Fatalf("parent said %q (%v), engine alive: %t", line, err, alive(said.Engine))
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	timetest.Eventually(t, "engine ends", func() bool { return !alive(said.Engine) })

	// The directory is free for the next.
	e := chtest.StartOwn(t, chtest.Options(dir))
	if err := e.Open(t, "").Ping(t.Context()); err != nil {
		t.Errorf("engine after the parent's death: %v", err)
	}
}

// runToEnd runs a supervisor that is expected to give up, and returns its error.
func runToEnd(t *testing.T, opts engine.Options, reg prometheus.Registerer) error {
	t.Helper()
	sup, err := engine.NewSupervisor(opts, slog.New(slog.DiscardHandler), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := sup.Run(ctx); err != nil {
		return err
	}
	t.Fatal("Run went on until it was stopped")
	return nil
}

func TestFinalErrorsEndTheSupervisorAtOnce(t *testing.T) {
	tmp := t.TempDir()
	junk, other := filepath.Join(tmp, "junk.so"), ""
	if err := os.WriteFile(junk, []byte("not a library"), 0o644); err != nil {
		t.Fatal(err)
	}
	// A real library that is not libchdb.
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/lib64", "/usr/lib"} {
		if matches, _ := filepath.Glob(filepath.Join(dir, "libm.so.6")); len(matches) > 0 {
			other = matches[0]
		}
	}
	held := chtest.StartOwn(t, chtest.Options(""))
	for name, tc := range map[string]struct {
		library, dir string
		want         error
		text         string
	}{
		"missing library": {filepath.Join(tmp, "none.so"), tmp, engine.ErrLibraryMissing, "--engine-lib"},
		"no library":      {junk, tmp, engine.ErrLibraryVersion, junk},
		"other library":   {other, tmp, engine.ErrLibraryVersion, "no symbol"},
		"data dir in use": {"", held.DataDir, engine.ErrDataDirLocked, held.DataDir},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "other library" && other == "" {
				t.Skip("no libm.so.6 here")
			}
			opts := chtest.Options(tc.dir)
			opts.Library = tc.library
			if err := runToEnd(t, opts, nil); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Run = %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
	if err := held.Open(t, "").Ping(t.Context()); err != nil {
		t.Errorf("the engine that holds the directory was disturbed: %v", err)
	}
}

func TestMissingLibrarySaysWhatToDo(t *testing.T) {
	t.Setenv("HEADGATE_CACHE_DIR", t.TempDir())
	_, err := engine.FindLibrary("")
	if !errors.Is(err, engine.ErrLibraryMissing) {
		t.Fatalf("FindLibrary = %v, want %v", err, engine.ErrLibraryMissing)
	}
	for _, want := range []string{"make engine-lib", "--engine-lib", "--clickhouse"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("FindLibrary = %v, want %q in it", err, want)
		}
	}
}

func TestCrashesAreCountedAndRetried(t *testing.T) {
	reg := prometheus.NewRegistry()
	opts := chtest.Options(t.TempDir())
	opts.Command = []string{"false"}
	sup, err := engine.NewSupervisor(opts, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(ctx) }()
	timetest.Eventually(t, "two restarts", func() bool { return metric(t, reg, "headgate_engine_restarts_total") >= 2 })
	if up := metric(t, reg, "headgate_engine_up"); up != 0 {
		t.Errorf("headgate_engine_up = %v, want 0", up)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run after its stop = %v, want nil", err)
	}
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return value(f.GetMetric()[0])
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

func TestOptionsAreValidatedTogether(t *testing.T) {
	_, err := engine.NewSupervisor(engine.Options{MemoryBytes: 1, Threads: -1}, nil, nil)
	for _, want := range []string{"directory not set", "memory 1 bytes", "threads -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewSupervisor = %v, want %q in it", err, want)
		}
	}
}

// A statement that cannot be cancelled in time does not take the engine's library down under itself: the process ends as it is.
func TestStopUnderAStatementThatStaysIsNoCrash(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.StopTimeout = time.Millisecond
	var log bytes.Buffer
	sup, err := engine.NewSupervisor(opts, slog.New(slog.NewTextHandler(&log, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- sup.Run(ctx) }()
	select {
	case <-sup.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(sup.WriterOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 4 {
		go func() {
			_ = conn.Exec(context.Background(), "SELECT sum(sleepEachRow(0.5)) FROM numbers(100) SETTINGS max_block_size = 6, max_threads = 1")
		}()
	}
	timetest.Eventually(t, "the statements run", func() bool { return running(t, conn, "sleepEachRow") == 4 })
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the supervisor ended with %v", err)
	}
	if text := log.String(); !strings.Contains(text, "statements still run") || strings.Contains(text, "SIG") {
		t.Errorf("the engine's end: %s", text)
	}
}
