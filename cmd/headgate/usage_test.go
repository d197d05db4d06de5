package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// books is the API on a socket with a ledger of two days ago and of now, and commands that speak to it.
type books struct {
	t      *testing.T
	url    string
	token  string
	dir    string
	db     *store.DB
	ledger *metering.Ledger
	hour   time.Time // two days ago: sealed
}

func openBooks(t *testing.T) *books {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b := &books{t: t, dir: t.TempDir(), hour: timeNow().UTC().Add(-48 * time.Hour).Truncate(time.Hour)}
	var err error
	b.db, err = store.Open(filepath.Join(b.dir, "headgate.db"))
	check(err)
	t.Cleanup(func() { b.db.Close() })
	directory, err := auth.Open(t.Context(), b.db, auth.Options{Now: timeNow, Dir: b.dir, Registry: prometheus.NewRegistry()})
	check(err)
	token, err := os.ReadFile(filepath.Join(b.dir, "admin.token"))
	check(err)
	b.token = strings.TrimSpace(string(token))
	operator, err := directory.Operator(b.token)
	check(err)
	b.ledger = metering.NewLedger(b.db, metering.LedgerOptions{Now: timeNow, Registry: prometheus.NewRegistry()})
	for i, name := range []string{"acme", "globex"} {
		made, err := directory.Tenants().Create(t.Context(), operator, auth.NewTenant{Name: name})
		check(err)
		for j, at := range []time.Time{b.hour, timeNow()} {
			_, err = b.ledger.Apply(t.Context(), "log", uint64(2*i+j), []metering.Receipt{{Tenant: made.ID, Key: "key-" + name, Signal: metering.Logs,
				ReceivedAt: at, BilledBytes: 3 << 20, Records: 10}})
			check(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check(b.ledger.Run(ctx)) // seals once
	signer, err := metering.OpenSigner(t.Context(), b.db, b.dir, timeNow())
	check(err)
	api := &control.API{Directory: directory, Ledger: b.ledger, Signer: signer, Now: timeNow, Version: "test",
		Log: slog.New(slog.DiscardHandler), Alerts: alert.New(b.db, alert.Options{Now: timeNow, Registry: prometheus.NewRegistry()})}
	mux := http.NewServeMux()
	api.Register(mux)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	b.url = srv.URL
	return b
}

// run runs a command and returns what it printed.
func (b *books) run(args ...string) (stdout, stderr string, err error) {
	b.t.Helper()
	var out, errText bytes.Buffer
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	err = run(ctx, append(args, "--api-url", b.url, "--token", b.token), strings.NewReader(""), &out, &errText)
	return out.String(), errText.String(), err
}

func (b *books) must(args ...string) string {
	b.t.Helper()
	out, errText, err := b.run(args...)
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", args, err, errText)
	}
	return out
}

func (b *books) fails(want string, args ...string) {
	b.t.Helper()
	if out, errText, err := b.run(args...); err == nil || !strings.Contains(errText, want) {
		b.t.Errorf("%v: %v\n%s%s, want %s", args, err, out, errText, want)
	}
}

func TestUsageIsPrintedInEachFormat(t *testing.T) {
	b := openBooks(t)
	day := b.hour.Format(time.DateOnly)
	if out := b.must("usage", "--from", day); !strings.Contains(out, "BILLED BYTES") || !strings.Contains(out, "sealed") || !strings.Contains(out, "open") ||
		strings.Contains(out, "per day") {
		t.Errorf("table:\n%s", out)
	}
	if out := b.must("usage", "--tenant", "acme", "--by", "hour", "--to", b.hour.Add(time.Hour).Format(time.RFC3339), "--format", "csv"); strings.Count(out, "\n") != 2 ||
		!strings.Contains(out, ",3145728,") {
		t.Errorf("csv:\n%s", out)
	}
	if u := unmarshal[metering.Usage](t, b.must("usage", "--by", "hour", "--as-of", timeNow().UTC().Format(time.RFC3339Nano), "--json")); len(u.Rows) != 2 || u.AsOf.IsZero() {
		t.Errorf("json: %+v", u)
	}
	if out := b.must("usage", "--format", "focus", "--tenant", "globex"); strings.Count(out, "\n") != 3 || !strings.HasPrefix(out, "BilledCost,") ||
		!strings.Contains(out, ",open\n") {
		t.Errorf("focus:\n%s", out)
	}
	if out := b.must("usage", "--plot"); !strings.Contains(out, "Billed per day") || !strings.Contains(out, timeNow().UTC().Format("01-02")) {
		t.Errorf("plot:\n%s", out)
	}
	b.fails(`--format "xml": want table, json, csv or focus`, "usage", "--format", "xml")
	b.fails("is before from", "usage", "--from", "2026-10-02", "--to", "2026-10-01")
	b.fails("want the name of an IANA time zone", "usage", "--zone", "Mars/Base")
	b.fails("not-found", "usage", "--tenant", "nobody")
}

func TestExportedFilesAreVerified(t *testing.T) {
	b := openBooks(t)
	path := filepath.Join(t.TempDir(), "usage.csv")
	month := b.hour.Format("2006-01")
	_, told, err := b.run("usage", "export", "--month", month, "--format", "focus", "--price-per-gib", "0.25", "--out", path)
	if err != nil || !strings.Contains(told, "2 rows, 6 291 456 bytes billed") {
		t.Fatalf("%v\n%s", err, told)
	}
	m := unmarshal[metering.Manifest](t, string(must(os.ReadFile(path+manifestSuffix))))
	if m.Rows != 2 || m.PricePerGiB != "0.25" {
		t.Errorf("manifest %+v", m)
	}
	end := time.Date(b.hour.Year(), b.hour.Month()+1, 1, 0, 0, 0, 0, time.UTC) // two days ago was another month while one is young
	if whole := !m.SealedThrough.Before(end); m.Complete != whole || strings.Contains(told, "not sealed to its end") == whole || m.SealedThrough.Before(b.hour) {
		t.Errorf("sealed through %v: complete %v\n%s", m.SealedThrough, m.Complete, told)
	}
	if out := b.must("usage", "export", "verify", path); !strings.Contains(out, "as signed by key "+m.KeyID) {
		t.Errorf("verify: %s", out)
	}
	key := unmarshal[control.ExportKeys](t, string(must(json.Marshal(must(b.ledger.ExportKeys(t.Context(), ""))[0]))))
	b.must("usage", "export", "verify", path, "--public-key", key.PublicKey)
	if out := b.must("usage", "export", "--month", month); !strings.HasPrefix(out, "id,start,") || strings.Count(out, "\n") != 3 {
		t.Errorf("to stdout:\n%s", out)
	}
	files := must(os.ReadDir(filepath.Dir(path)))
	if len(files) != 2 {
		t.Errorf("%d files, want 2", len(files))
	}
	for _, f := range files { // of all tenants, on a machine with others
		if info := must(f.Info()); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	whole := must(os.ReadFile(path))
	b.write(path, bytes.Replace(whole, []byte("acme"), []byte("acne"), 1))
	b.fails("another SHA-256", "usage", "export", "verify", path)
	b.write(path, whole[:len(whole)-1])
	b.fails("bytes, signed were", "usage", "export", "verify", path)
	b.write(path, whole)
	m.Rows++
	b.write(path+manifestSuffix, must(json.Marshal(m)))
	b.fails("it was changed", "usage", "export", "verify", path)
	b.fails("want 32 bytes in base64", "usage", "export", "verify", path, "--public-key", "abc")
	b.write(path+manifestSuffix, []byte("{"))
	b.fails("manifest: ", "usage", "export", "verify", path)
	b.fails("no such file", "usage", "export", "verify", path+"x")
	b.fails("no such file", "usage", "export", "--month", month, "--out", filepath.Join(path+"x", "y"))
	b.fails("want a month", "usage", "export", "--month", "2026-13", "--out", path)
}

func (b *books) write(path string, raw []byte) {
	b.t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestUsageIsCorrectedOnce(t *testing.T) {
	b := openBooks(t)
	at := b.hour.Format("2006-01-02T15:04Z")
	args := []string{"usage", "correct", "--tenant", "acme", "--hour", at, "--signal", "logs", "--key", "key-acme", "--bytes", "-1MiB", "--records", "-4",
		"--reason", "sent twice", "--id", "C1"}
	for range 2 {
		if out := b.must(args...); !strings.Contains(out, "Correction C1 of acme: -1 048 576 bytes, -4 records") {
			t.Errorf("%s", out)
		}
	}
	u := unmarshal[metering.Usage](t, b.must("usage", "--tenant", "acme", "--by", "month", "--from", "2020-01-01", "--json"))
	sum := int64(0)
	for _, r := range u.Rows {
		sum += r.BilledBytes
	}
	if sum != 5<<20 {
		t.Errorf("billed %d, want %d", sum, 5<<20)
	}
	b.fails("correction-below-zero", "usage", "correct", "--tenant", "acme", "--hour", at, "--signal", "logs", "--key", "key-acme", "--bytes", "-3MiB", "--reason", "x")
	b.fails("give --tenant", "usage", "correct", "--tenant", "acme")
	b.fails("want the first moment of an hour", "usage", "correct", "--tenant", "acme", "--hour", "noon", "--signal", "logs", "--reason", "x")
	b.fails("not a number of bytes", "usage", "correct", "--tenant", "acme", "--hour", at, "--signal", "logs", "--bytes", "--5", "--reason", "x")
}

func TestReplicasAreListedAndForgotten(t *testing.T) {
	b := openBooks(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	gone := metering.NewLedger(b.db, metering.LedgerOptions{Now: timeNow, Replica: metering.ReplicaOptions{Log: "01GONE", Address: "10.0.0.7:8080"},
		Pending: func() (time.Time, bool) { return b.hour, true }})
	if err := gone.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if out := b.must("usage", "replicas"); !strings.Contains(out, "01GONE") || !strings.Contains(out, b.hour.Format("2006-01-02 15:04")) {
		t.Errorf("%s", out)
	}
	b.must("usage", "replicas", "forget", "01GONE")
	b.fails("no replica has this log", "usage", "replicas", "forget", "01GONE")
}

// Whatever the numbers and the width: nothing is wider than the terminal, what is more is not lower, what is there is seen, and
// without UTF-8 all is ASCII.
func TestPlotsFitTheTerminal(t *testing.T) {
	for _, numbers := range [][]int64{{0, 0, 0}, {1}, {5, 0, 7, 1 << 40, 3}, {-5, 10}, {1 << 62, 1<<63 - 1}, {999, 1000, 1001}, make([]int64, 14)} {
		var bars []bar
		for i, n := range numbers {
			bars = append(bars, bar{fmt.Sprintf("10-%02d", i+1), n})
		}
		for _, width := range []int{20, 40, 80, 200} {
			for _, unicode := range []bool{true, false} {
				var out bytes.Buffer
				plotBars(&out, bars, width, unicode)
				lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
				if len(lines) != plotHeight+2 || !strings.Contains(lines[plotHeight+1], bars[len(bars)-1].label) {
					t.Fatalf("%v in %d:\n%s", numbers, width, out.String())
				}
				for _, l := range lines {
					if utf8.RuneCountInString(l) > width {
						t.Errorf("%d wide, want %d:\n%s", utf8.RuneCountInString(l), width, out.String())
					}
				}
				if !unicode && strings.ContainsFunc(out.String(), func(r rune) bool { return r > 126 }) {
					t.Errorf("not ASCII:\n%s", out.String())
				}
			}
		}
	}
	top := niceAbove(1000)
	for _, blocks := range [][]rune{[]rune(" ▁▂▃▄▅▆▇█"), []rune(" #")} {
		last := 0
		for n := int64(0); n <= 1000; n += 10 {
			height := 0
			for line := 1; line <= plotHeight; line++ {
				for i, r := range blocks {
					if cell(n, top, line, blocks) == r {
						height += i
					}
				}
			}
			if height < last || (n > 0) != (height > 0) {
				t.Errorf("%d is %d high, before it were %d", n, height, last)
			}
			last = height
		}
	}
}

func TestPlotIsReadable(t *testing.T) {
	var out bytes.Buffer
	plotBars(&out, []bar{{"11-20", 3 << 20}, {"11-21", 0}, {"11-22", 1 << 20}}, 40, true)
	want := `3.2 MB │ ▆▆▆▆
       │ ████
       │ ████
       │ ████
1.6 MB │ ████
       │ ████        ▄▄▄▄
       │ ████        ████
       │ ████        ████
     0 └──────────────────
         11-20 11-21 11-22
`
	if out.String() != want {
		t.Errorf("plot:\n%s, want\n%s", out.String(), want)
	}
}
