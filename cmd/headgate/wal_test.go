package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The operator's view of the log: beside a running server, of a stopped one, and of a damaged one.
func TestWALCommands(t *testing.T) {
	p := serveOn(t, t.TempDir(), "--flush-delay", "3s")
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest")
	for range 3 {
		p.mustPost("/v1/logs", key, record("x"))
	}
	if out := p.cli("wal", "inspect"); !strings.Contains(out, "current") || !strings.Contains(out, " entries with ") {
		t.Errorf("inspect beside a running server printed\n%s", out)
	}
	if out := p.cli("wal", "rejected"); !strings.Contains(out, "No request was set aside") {
		t.Errorf("rejected printed\n%s", out)
	}
	if _, text, err := p.try("wal", "replay"); err == nil || !strings.Contains(text, "wal rejected") {
		t.Errorf("replay of nothing: %v %s", err, text)
	}
	if _, text, err := p.try("wal", "replay", "0000000100002000"); err == nil || !strings.Contains(text, "0000000100002000") {
		t.Errorf("replay of what is not there: %v %s", err, text)
	}
	p.end(syscall.SIGKILL)
	type report struct {
		Segments []struct {
			File, State string
			Entries     int
		}
		Entries int
	}
	if r := unmarshal[report](t, p.cli("wal", "verify", "--json")); r.Entries < 3 || len(r.Segments) != 1 {
		t.Errorf("verify printed %+v, want the three requests", r)
	}
	segments := mustGlob(t, filepath.Join(p.dir, walDir, "*.wal"))
	damage(t, segments[0])
	if out, text, err := p.try("wal", "verify"); err == nil || !strings.Contains(out+text, "damaged") {
		t.Errorf("verify of a damaged log: %v\n%s%s", err, out, text)
	}
}

// damage changes a byte of the log's first entry.
func damage(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const firstPayload = 4096 + 48
	b[firstPayload] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
