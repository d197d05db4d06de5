package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// moving is what every answer has another of.
var moving = regexp.MustCompile(`"(bytes_per_second|exhausted_at|sealed_through)":[^,}]*`)

// TestWholeLogReplayedTwiceChangesNothing puts a log back, as a restored disk does, after all that it planned was stored and
// billed: neither the ledger nor the tables change, the first time nor the second.
func TestWholeLogReplayedTwiceChangesNothing(t *testing.T) {
	engine, _, args := guardedServer(t)
	proxy := chtest.StartProxy(t, engine.Addr())
	dir, kept := t.TempDir(), t.TempDir()
	args = append(through(proxy.Addr(), engine, args), "--flush-delay", "1s")
	p := serveOn(t, dir, args...)
	keys := map[string]string{}
	for _, name := range []string{"acme", "globex"} {
		p.cli("tenant", "create", name, "--daily-bytes", "1MiB")
		keys[name] = p.key(name, "ingest", "query")
	}
	var inserts atomic.Int64
	proxy.Choose(func(r *http.Request) chtest.Fault {
		if chtest.IsInsert(r) {
			inserts.Add(1)
			return chtest.Refuse
		}
		return chtest.Pass
	})
	for i := range 10 {
		for _, key := range keys {
			p.mustPost("/v1/logs", key, record(fmt.Sprint("record ", i)))
		}
	}
	timetest.Eventually(t, "a run that is planned and cannot be stored", func() bool { return inserts.Load() > 1 })
	p.end(syscall.SIGKILL)
	if err := os.CopyFS(kept, os.DirFS(filepath.Join(dir, walDir))); err != nil {
		t.Fatal(err)
	}
	proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })

	state := func() string {
		p := serveOn(t, dir, args...)
		p.flushed()
		text := p.cli("usage", "--by", "hour", "--group", "signal,key", "--json", "--from", "2020-01-01")
		for _, name := range []string{"acme", "globex"} {
			text = p.cli("query", "--key", keys[name], "--format", "ndjson", "logs | summarize n = count() by body | sort by body") + text
			text = p.cli("limits", "--key", keys[name], "--json") + text
		}
		if err := p.end(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		return moving.ReplaceAllString(text, "")
	}
	want := state()
	for _, times := range []string{"once", "twice"} {
		if err := os.RemoveAll(filepath.Join(dir, walDir)); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, walDir), os.DirFS(kept)); err != nil {
			t.Fatal(err)
		}
		if got := state(); got != want {
			t.Errorf("after the log was put back %s:\n%s\nbefore:\n%s", times, got, want)
		}
	}
}
