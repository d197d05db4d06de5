package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
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
)

// binary is the headgate under test.
func binary() string {
	if path := os.Getenv("HEADGATE_BIN"); path != "" {
		return path
	}
	return filepath.Join("..", "bin", "headgate")
}

// addresses is what serve writes once it is ready.
type addresses struct {
	GRPC      string `json:"otlp_grpc"`
	HTTP      string `json:"otlp_http"`
	API       string `json:"api"`
	Telemetry string `json:"telemetry"`
}

// server is a running headgate that can be killed and started again on the same ports and data.
type server struct {
	t    *testing.T
	dir  string
	args []string
	addr addresses
	ca   string // PEM file of its certificate; empty: plaintext

	cmd  *exec.Cmd
	gone chan struct{} // closed at the end of the process
	out  lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// tail is the end of what was written.
func (b *lockedBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buf.String()
	return text[max(0, len(text)-8000):]
}

// serve starts headgate on ports that were free a moment ago, so that a restart can listen on the same ones.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	if _, err := os.Stat(binary()); err != nil {
		t.Skipf("no headgate to test: %v; run make build, or name one in HEADGATE_BIN", err)
	}
	ports := freePorts(t, 4)
	s := &server{t: t, dir: t.TempDir(), addr: addresses{ports[0], ports[1], ports[2], ports[3]}, ca: valueOf("--tls-cert", args)}
	s.args = append([]string{"serve", "--data-dir", s.dir, "--otlp-grpc", ports[0], "--otlp-http", ports[1], "--api", ports[2],
		"--telemetry", ports[3], "--engine-memory", "2GiB"}, args...)
	s.start()
	t.Cleanup(func() {
		s.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("headgate said:\n%s", s.out.tail())
		}
	})
	return s
}

// valueOf is the argument after a flag, if it is there. A certificate that signs itself is its own authority.
func valueOf(flag string, args []string) string {
	if i := slices.Index(args, flag); i >= 0 {
		return args[i+1]
	}
	return ""
}

func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // only when all are known, so that they differ
		ports = append(ports, l.Addr().String())
	}
	return ports
}

// start runs the process and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	ready := filepath.Join(s.dir, "addresses.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(binary(), s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	gone := make(chan struct{})
	s.gone = gone
	go func(cmd *exec.Cmd) { _ = cmd.Wait(); close(gone) }(s.cmd)
	waitFor(s.t, "headgate to be ready", func() bool {
		select {
		case <-gone:
			s.t.Fatalf("headgate ended:\n%s", s.out.tail())
		default:
		}
		_, err := os.Stat(ready)
		return err == nil
	})
}

// end sends a signal and waits for the end. Ending twice is fine.
func (s *server) end(sig syscall.Signal) {
	s.t.Helper()
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.gone:
	case <-time.After(40 * time.Second):
		s.t.Fatalf("headgate does not end on %v:\n%s", sig, s.out.tail())
	}
}

// engine is the process id of the embedded engine.
func (s *server) engine() int {
	s.t.Helper()
	pid := 0
	waitFor(s.t, "an engine", func() bool {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
		for _, file := range files {
			text, _ := os.ReadFile(file) // a thread may have ended
			if first, _, _ := strings.Cut(strings.TrimSpace(string(text)), " "); first != "" {
				pid, _ = strconv.Atoi(first)
			}
		}
		return pid != 0
	})
	return pid
}

func (s *server) signalEngine(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.engine(), sig); err != nil {
		s.t.Fatal(err)
	}
}

// waitFor polls until ok, for at most half a minute.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// try runs one command of the CLI against the server.
func (s *server) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(), append(args, "--data-dir", s.dir)...)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("headgate %s: %w: %s", args[0], err, problem.String())
	}
	return string(out), err
}

func (s *server) cli(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// key is an API key as the CLI made it.
type key struct{ ID, Key string }

func (s *server) newKey(tenant string, more ...string) key {
	s.t.Helper()
	var k key
	out := s.cli(append([]string{"key", "create", "--tenant", tenant, "--scope", "ingest", "--scope", "query", "--json"}, more...)...)
	if err := json.Unmarshal([]byte(out), &k); err != nil || k.ID == "" || k.Key == "" {
		s.t.Fatalf("key create printed %q: %v", out, err)
	}
	return k
}

// billed is the number of records in the ledger for a tenant.
func (s *server) billed(tenant string) (records int) {
	s.t.Helper()
	var usage struct{ Rows []struct{ Records int } }
	if err := json.Unmarshal([]byte(s.cli("usage", "--tenant", tenant, "--json")), &usage); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range usage.Rows {
		records += r.Records
	}
	return records
}
