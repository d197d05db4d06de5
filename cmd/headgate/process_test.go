package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// asHeadgate makes the test binary headgate itself, its engine child included: tests run real processes, killable ones.
const asHeadgate = "HEADGATE_TEST_AS_HEADGATE"

func TestMain(m *testing.M) {
	setClock()
	if os.Getenv(asHeadgate) != "" {
		logFS = badDisk(os.Getenv(badDiskVar))
		deletionReached = holdDeletion(os.Getenv(holdVar))
		main()
		os.Exit(0)
	}
	chtest.Main(m)
}

// clockVar has what the clock of all processes of a test run shows less than the machine's.
const clockVar = "HEADGATE_TEST_CLOCK"

// setClock has this process and those that it starts run by one clock, whose hour and UTC day do not end while tests run. What is compared with
// what headgate decides or counts by the time of day is of timeNow; times of records, and what took how long, are the machine's.
func setClock() {
	behind, err := time.ParseDuration(os.Getenv(clockVar))
	if err != nil { // the first
		behind = timetest.NewRunning().Behind()
		_ = os.Setenv(clockVar, behind.String())
	}
	timeNow = timetest.RunningBehind(behind).Now
}

// process is a running headgate.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string
	role string
	// secrets is the directory of the operator token; "" is dir.
	secrets string
	addr    addresses
	out     syncBuffer // stdout and stderr
	gone    chan error
	// orphans are the process ids of the engines that it had when it was ended: they end by themselves, a moment later.
	orphans []int
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asHeadgate+"=1")
	return cmd
}

// launch starts serve on free ports and does not wait.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return launchAs(t, "all", dir, args...)
}

// launchAs is launch with a role.
func launchAs(t *testing.T, role, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, dir: dir, role: role, gone: make(chan error, 1)}
	base := []string{"serve", "--data-dir", dir, "--telemetry", "127.0.0.1:0", "--role", role}
	if role == "all" || role == "ingest" {
		base = append(base, "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--flush-delay", "20ms")
	}
	if role != "ingest" {
		base = append(base, "--api", "127.0.0.1:0")
	}
	if role == "all" {
		base = append(base, "--engine-memory", "2GiB")
	}
	p.cmd = command(append(base, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.gone <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		timetest.Eventually(t, "its engine to end, which writes to a directory that is about to be removed", func() bool { return !slices.ContainsFunc(p.orphans, alive) })
	})
	return p
}

// serveOn starts serve and waits until it is ready.
func serveOn(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return serveAs(t, "all", dir, args...)
}

// serveAs is serveOn with a role.
func serveAs(t *testing.T, role, dir string, args ...string) *process {
	t.Helper()
	// One that was killed has left its addresses; the new process removes them only once it runs.
	if err := removeIfThere(filepath.Join(dir, addressesFile)); err != nil {
		t.Fatal(err)
	}
	p := launchAs(t, role, dir, args...)
	timetest.Eventually(t, "headgate to be ready", func() bool {
		select {
		case err := <-p.gone:
			p.gone <- err
			t.Fatalf("headgate ended: %v\n%s", err, p.out.String())
		default:
		}
		a, err := readAddresses(dir)
		p.addr = a
		return err == nil
	})
	return p
}

// end sends a signal and waits for the process to be gone. Ending it twice is fine.
func (p *process) end(sig syscall.Signal) error {
	p.t.Helper()
	p.orphans = append(p.orphans, p.children()...)
	_ = p.cmd.Process.Signal(sig)
	select {
	case err := <-p.gone:
		p.gone <- err
		return err
	case <-time.After(90 * time.Second):
		p.t.Fatalf("headgate does not end:\n%s", p.out.String())
		return nil
	}
}

// commandPatience is a bound on what a command takes on a slow machine that others keep busy.
const commandPatience = 4 * time.Minute

// alive reports whether a process runs, and is not only waited for.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := bytes.Cut(stat, []byte(") ")) // behind the name, in which anything can be
	return err == nil && !bytes.HasPrefix(state, []byte("Z")) && !bytes.HasPrefix(state, []byte("X"))
}

// cli runs one command against the process and returns its standard output; it must succeed.
func (p *process) cli(args ...string) string {
	p.t.Helper()
	out, errText, err := p.try(args...)
	if err != nil {
		p.t.Fatalf("headgate %s: %v\n%s", strings.Join(args, " "), err, errText)
	}
	return out
}

func (p *process) try(args ...string) (stdout, stderr string, err error) {
	p.t.Helper()
	var out, errText bytes.Buffer
	ctx, cancel := context.WithTimeout(p.t.Context(), commandPatience)
	defer cancel()
	if p.secrets != "" {
		args = append(args, "--secrets-dir", p.secrets)
	}
	err = run(ctx, append(args, "--data-dir", p.dir), strings.NewReader(""), &out, &errText)
	return out.String(), errText.String(), err
}

func unmarshal[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// key makes a key through the CLI, as a script does.
func (p *process) key(tenant string, scopes ...string) string {
	p.t.Helper()
	args := []string{"key", "create", "--tenant", tenant, "--json"}
	for _, s := range scopes {
		args = append(args, "--scope", s)
	}
	key := unmarshal[struct{ ID, Key string }](p.t, p.cli(args...))
	if key.ID == "" || !strings.HasPrefix(key.Key, "hg_") {
		p.t.Fatalf("key create printed %+v", key)
	}
	return key.Key
}

// operatorToken is the credential of the operator.
func (p *process) operatorToken() string {
	p.t.Helper()
	token, err := os.ReadFile(filepath.Join(cmp.Or(p.secrets, p.dir), adminTokenFile))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// post sends one OTLP/HTTP request with a key.
func (p *process) post(ctx context.Context, path, contentType, key string, body []byte) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addr.OTLPHTTP+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

func (p *process) mustPost(path, key, body string) {
	p.t.Helper()
	status, text, err := p.post(p.t.Context(), path, "application/json", key, []byte(body))
	if err != nil || status != 200 || text != "{}" {
		p.t.Fatalf("POST %s: %d %s %v", path, status, text, err)
	}
}

// metric returns the value of one of the process's metrics without labels.
func (p *process) metric(name string) float64 {
	p.t.Helper()
	_, text := p.get("http://" + p.addr.Telemetry + "/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return v
		}
	}
	p.t.Fatalf("no metric %s", name)
	return 0
}

// flushed waits until ClickHouse and the ledger have what was acked.
func (p *process) flushed() {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Logf("headgate says:\n%s", p.out.String())
		}
	}()
	timetest.Eventually(p.t, "the log to be flushed", func() bool { return p.metric("headgate_storage_log_requests") == 0 })
}

// get reads an address of the process without a credential.
func (p *process) get(url string) (int, string) {
	p.t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw)
}

func (p *process) enginePID() int {
	p.t.Helper()
	pids := p.children()
	if len(pids) == 0 {
		p.t.Fatal("no engine child")
	}
	return pids[0]
}

// children are the process ids of the process's children.
func (p *process) children() (pids []int) {
	p.t.Helper()
	for _, file := range mustGlob(p.t, fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid)) {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				p.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
