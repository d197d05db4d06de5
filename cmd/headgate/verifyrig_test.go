package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/ingest"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// verifyRig is a headgate whose clock is the test's: edge, log, ledger and engine are those of serve.
type verifyRig struct {
	t         *testing.T
	dir       string
	conn      driver.Conn
	db        *store.DB
	clock     atomic.Int64 // unix nanoseconds
	directory *auth.Directory
	operator  auth.Principal
	ledger    *metering.Ledger
	log       *storage.Log
	verifier  *metering.Verifier
	api       *control.API
	otlp      string
	reg       *prometheus.Registry
	start     time.Time // a full hour two days ago
}

func newVerifyRig(t *testing.T) *verifyRig {
	t.Helper()
	return newVerifyRigOf(t, 10*time.Millisecond)
}

// newVerifyRigOf makes a rig whose requests wait for company for so long.
func newVerifyRigOf(t *testing.T, delay time.Duration) *verifyRig {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	r := &verifyRig{t: t, dir: t.TempDir(), reg: prometheus.NewRegistry(), start: timeNow().UTC().Truncate(24 * time.Hour).Add(-39 * time.Hour)}
	r.at(r.start)
	r.conn = chtest.Start(t).Open(t, chtest.Database(t))
	check(storage.Migrate(t.Context(), r.conn, schema.Migrations, quiet))
	var err error
	r.db, err = store.Open(filepath.Join(r.dir, "headgate.db"))
	check(err)
	t.Cleanup(func() { _ = r.db.Close() })
	r.directory, err = auth.Open(t.Context(), r.db, auth.Options{Now: r.now, Dir: r.dir, Logger: quiet, Registry: r.reg})
	check(err)
	token, err := os.ReadFile(filepath.Join(r.dir, adminTokenFile))
	check(err)
	r.operator, err = r.directory.Operator(strings.TrimSpace(string(token)))
	check(err)
	meter, err := metering.OpenMeter(t.Context(), r.db, r.now(), r.reg)
	check(err)
	r.ledger = metering.NewLedger(r.db, metering.LedgerOptions{Now: r.now, Registry: r.reg, Pending: func() (time.Time, bool) { return r.log.Oldest() }})
	r.log, err = storage.OpenLog(t.Context(), storage.LogOptions{
		Dir: filepath.Join(r.dir, walDir), Ledger: r.ledger.ForLog(walDir), Now: timeNow, Registry: prometheus.NewRegistry(),
		MaxDelay: delay, Backoff: 10 * time.Millisecond, ReserveBytes: -1, SegmentBytes: 80 << 20, Window: time.Hour,
	})
	check(err)
	edge, err := ingest.New(ingest.Options{Now: r.now, Profiles: true}, ingest.Backend{Keys: r.directory, Meter: meter, Ledger: r.ledger, Log: r.log}, quiet, r.reg)
	check(err)
	lg, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	lh, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	r.otlp = "http://" + lh.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = edge.Run(ctx, lg, lh) })
	running.Go(func() { _ = r.directory.Run(ctx) })
	running.Go(func() { _ = r.log.Run(ctx, r.conn, 0) })
	t.Cleanup(func() { cancel(); running.Wait(); _ = r.log.Close() })
	r.verifier = metering.NewVerifier(r.ledger, storage.Counter{Conn: r.conn, Log: r.log}, r.reg)
	r.api = &control.API{Directory: r.directory, Ledger: r.ledger, Verifier: r.verifier, Alerts: alert.New(r.db, alert.Options{Now: r.now, Registry: prometheus.NewRegistry()}),
		Now: r.now, Log: quiet, Version: "test"}
	return r
}

func (r *verifyRig) now() time.Time       { return time.Unix(0, r.clock.Load()).UTC() }
func (r *verifyRig) at(t time.Time)       { r.clock.Store(t.UnixNano()) }
func (r *verifyRig) hour(n int) time.Time { return r.start.Add(time.Duration(n) * time.Hour) }

// tenant makes a tenant and a key of it.
func (r *verifyRig) tenant(n auth.NewTenant) (auth.Tenant, string) {
	r.t.Helper()
	made, err := r.directory.Tenants().Create(r.t.Context(), r.operator, n)
	if err != nil {
		r.t.Fatal(err)
	}
	_, text, err := r.directory.Keys().Create(r.t.Context(), r.operator, auth.NewKey{Tenant: n.Name, Scopes: []auth.KeyScope{auth.ScopeIngest}})
	if err != nil {
		r.t.Fatal(err)
	}
	return made, text
}

// send posts a body, whose status must be the given one.
func (r *verifyRig) send(status int, path, key, body string) {
	r.t.Helper()
	kind := "application/json"
	if strings.HasPrefix(body, "\n") {
		kind = "application/x-protobuf"
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.otlp+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != status {
		r.t.Fatalf("POST %s: %d %s, want %d", path, resp.StatusCode, text, status)
	}
}

// logsAt sends n requests of one record each in an hour.
func (r *verifyRig) logsAt(hour, n int, key string) {
	r.t.Helper()
	for i := range n {
		r.at(r.hour(hour).Add(time.Duration(i) * time.Second))
		r.send(200, "/v1/logs", key, logBody(fmt.Sprintf("%d of %d", i, n), r.now()))
	}
}

func logBody(text string, at time.Time) string {
	return fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d","body":{"stringValue":%q}}]}]}]}`, at.UnixNano(), text)
}

// seal waits until everything is stored, and has all hours up to now sealed.
func (r *verifyRig) seal() {
	r.t.Helper()
	timetest.Eventually(r.t, "the log to be empty", func() bool { _, waits := r.log.Oldest(); return !waits })
	r.at(timeNow())
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.ledger.Run(ctx) }()
	defer func() { cancel(); <-done }()
	timetest.Eventually(r.t, "the hours to be sealed", func() bool {
		u, err := r.ledger.UnsafeUsageOfAll(r.t.Context(), metering.Filter{Limit: 1})
		return err == nil && u.SealedThrough.After(r.hour(20))
	})
}

func (r *verifyRig) verify() metering.Report {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	report, err := r.verifier.UnsafeVerify(ctx, metering.VerifyFilter{}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

func (r *verifyRig) exec(query string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.conn.Exec(ctx, query); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
}

func (r *verifyRig) remove(table, where string) {
	r.t.Helper()
	r.exec("ALTER TABLE " + table + " DELETE WHERE " + where + " SETTINGS mutations_sync = 2")
}

func (r *verifyRig) ledgerExec(query string, args ...any) {
	r.t.Helper()
	err := r.db.Update(r.t.Context(), func(tx *store.Tx) error {
		res, err := tx.ExecContext(r.t.Context(), query, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errors.New("nothing was changed"))
		}
		return nil
	})
	if err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
}

// drifts are the report's differences as text, sorted.
func drifts(rep metering.Report) (out []string) {
	for _, d := range rep.Drift {
		who := d.Tenant
		if d.Run != "" {
			who = "run"
		}
		out = append(out, fmt.Sprintf("%s %s %s %s %s %d/%d", d.Kind, who, d.Signal, d.Hour.Format("15"), d.Field, d.Want, d.Have))
	}
	slices.Sort(out)
	return out
}

func skips(rep metering.Report) (out []string) {
	for _, s := range rep.Skipped {
		out = append(out, fmt.Sprintf("%s %s %s %d %d", s.Reason, s.Tenant, s.Signal, s.Count, s.Records))
	}
	slices.Sort(out)
	return out
}

func wantLines(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
