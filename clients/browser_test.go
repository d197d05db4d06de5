package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browserPath finds a browser of the Chromium family, or says why there is none.
func browserPath() (path, reason string) {
	for _, name := range []string{os.Getenv("HEADGATE_TEST_BROWSER"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path, ""
		}
	}
	if reason := nodeReady(); reason != "" {
		return "", reason
	}
	return "", "no Chromium; install one, or name it in HEADGATE_TEST_BROWSER"
}

// pages serves the page that sends, from an origin of its own. One client at a time uses it.
type pages struct {
	*httptest.Server
	browser string

	mu     sync.Mutex // guards the fields below
	errand map[string]any
	tally  *tally
	done   chan struct{} // closed when the page has sent everything
}

// newPages bundles the page, as any web project does.
func newPages(t *testing.T) *pages {
	t.Helper()
	browser, reason := browserPath()
	if reason != "" {
		t.Skip(reason)
	}
	script := filepath.Join(t.TempDir(), "page.js")
	bundle := exec.CommandContext(t.Context(), "node", "node/node_modules/esbuild/bin/esbuild", "node/page.mjs", "--bundle", "--format=esm", "--outfile="+script)
	if out, err := bundle.CombinedOutput(); err != nil {
		t.Fatalf("esbuild: %v: %s", err, out)
	}
	p := &pages{browser: browser}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>shop</title><script type="module" src="page.js"></script>`)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, script) })
	mux.HandleFunc("GET /errand", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(p.errand) // a page that is gone asks no more
	})
	mux.HandleFunc("POST /tally", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err == nil {
			err = p.tally.saidByScript(text)
		}
		if err != nil {
			p.tally.because("the page said " + string(text))
		}
	})
	mux.HandleFunc("POST /done", func(http.ResponseWriter, *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.done)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// client is the exporters of the JS SDK in a page of a real browser.
func (p *pages) client() client {
	return client{"browser", func(ctx context.Context, to target, plan plan, t *tally) error {
		done := make(chan struct{})
		p.mu.Lock()
		p.errand, p.tally, p.done = map[string]any{"plan": plan.toScript(), "url": to.url(to.http), "key": to.key}, t, done
		p.mu.Unlock()
		dir, err := os.MkdirTemp("", "browser")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		args := strings.Fields(`--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update
			--disable-sync --disable-dev-shm-usage`)
		if os.Getuid() == 0 {
			args = append(args, "--no-sandbox") // it refuses to start otherwise
		}
		if to.ca != "" {
			args = append(args, "--ignore-certificate-errors") // there is no other way to tell it of an authority
		}
		cmd := exec.Command(p.browser, append(args, "--remote-debugging-port=0", "--user-data-dir="+dir, p.URL)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // its helpers end with it
		if err := cmd.Start(); err != nil {
			return err
		}
		defer func() { _, _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL), cmd.Wait() }()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the page is not done: %w", ctx.Err())
		}
	}}
}

// run makes a tenant for the browser with a key that pages of an origin may use.
func (p *pages) run(s *server, tenant, origin string, limits ...string) *run {
	s.cli(append([]string{"tenant", "create", tenant}, limits...)...)
	r := &run{client: p.client(), tenant: tenant, reader: s.newKey(tenant)}
	r.key = s.newKey(tenant, "--cors-origin", origin)
	return r
}

// TestBrowsersSendFromTheirOrigin: pages of the key's origin, and no other's, through success, a limit, a revoked key and a restart.
func TestBrowsersSendFromTheirOrigin(t *testing.T) {
	p := newPages(t)
	s := serve(t)
	play(t, s, "success", everything, []*run{p.run(s, "shop", p.URL)}, nil, func(r *run, l line) {
		allDelivered(t)(r, l)
		if l.retried != 0 {
			t.Errorf("%+v: want no retries", l)
		}
	})
	few := everything
	few.batches, few.finish = 9, 12*time.Second
	play(t, s, "another page's origin", few, []*run{p.run(s, "others", "https://shop.example")}, nil, func(_ *run, l line) {
		if l.dropped != l.sent || l.stored != 0 {
			t.Errorf("%+v: want everything dropped", l)
		}
	})
	play(t, s, "limit, refuse", everything, []*run{p.run(s, "small", p.URL, "--daily-bytes", "100KiB")}, nil, func(_ *run, l line) {
		if l.acked == 0 || l.acked+l.dropped != l.sent || l.dropped == 0 || l.stored != l.acked || l.retried != 0 {
			t.Errorf("%+v: want some acked, the rest dropped and not repeated: the wait is hours", l)
		}
	})
	ended := []*run{p.run(s, "ended", p.URL)}
	play(t, s, "key revoked", everything, ended, func() {
		acked(t, ended, 100)
		s.cli("key", "revoke", ended[0].key.ID)
	}, func(_ *run, l line) {
		if l.dropped == 0 || l.stored != l.acked || l.retried != 0 {
			t.Errorf("%+v: want some acked, the rest dropped and not repeated", l)
		}
	})
	away := []*run{p.run(s, "away", p.URL)}
	play(t, s, "restart, SIGKILL", everything, away, func() {
		acked(t, away, 60)
		s.end(syscall.SIGKILL)
		s.start()
	}, func(_ *run, l line) {
		if l.acked <= 60 || l.retried == 0 {
			t.Errorf("%+v: want retries, and acks after the restart", l)
		}
	})
}
