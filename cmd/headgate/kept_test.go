package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// keptRig is a keeper on a real engine behind a proxy, and tenants root and, below it, child.
type keptRig struct {
	*keeper
	t        *testing.T
	conn     driver.Conn // past the proxy
	proxy    *chtest.Proxy
	operator auth.Principal
	clock    time.Time
	root     auth.Tenant
	child    auth.Tenant
}

func newKeptRig(t *testing.T) *keptRig {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	engine, database := chtest.Start(t), chtest.Database(t)
	r := &keptRig{t: t, conn: engine.Open(t, database), proxy: chtest.StartProxy(t, engine.Addr()),
		clock: time.Date(2026, 3, 28, 23, 30, 0, 0, time.UTC)} // the 29th in Berlin
	check(storage.Migrate(t.Context(), r.conn, schema.Migrations, slog.New(slog.DiscardHandler)))
	dir := t.TempDir()
	db, err := store.Open(filepath.Join(dir, "headgate.db"))
	check(err)
	t.Cleanup(func() { _ = db.Close() })
	now := func() time.Time { return r.clock }
	directory, err := auth.Open(t.Context(), db, auth.Options{Now: now, Dir: dir, Registry: prometheus.NewRegistry()})
	check(err)
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	check(err)
	r.operator, err = directory.Operator(strings.TrimSpace(string(token)))
	check(err)
	r.root, err = directory.Tenants().Create(t.Context(), r.operator, auth.NewTenant{Name: "root", TimeZone: "Europe/Berlin"})
	check(err)
	r.child, err = directory.Tenants().Create(t.Context(), r.operator, auth.NewTenant{Name: "child", Parent: "root"})
	check(err)
	meter, err := metering.OpenMeter(t.Context(), db, r.clock, prometheus.NewRegistry())
	check(err)
	r.keeper = r.another(&keeper{measure: storage.NewMeasure(engine.OpenAt(t, r.proxy.Addr(), database)), directory: directory,
		meter: meter, db: db, now: now, log: slog.New(slog.DiscardHandler)})
	return r
}

// another is a keeper as another process would have it.
func (r *keptRig) another(k *keeper) *keeper {
	return newKeeper(&keeper{measure: k.measure, directory: k.directory, meter: k.meter, db: k.db, now: k.now, log: k.log}, prometheus.NewRegistry())
}

func (r *keptRig) mustTurn() {
	r.t.Helper()
	if err := r.turn(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// limit sets how much root may keep; 0 removes the limit.
func (r *keptRig) limit(n int64) {
	r.t.Helper()
	bounds := []tenant.Bound{{Kind: tenant.StorageBytes, Max: n}}
	if n == 0 {
		bounds = nil
	}
	if _, err := r.directory.Tenants().Set(r.t.Context(), r.operator, "root", auth.Patch{Bounds: &bounds}); err != nil {
		r.t.Fatal(err)
	}
}

// store keeps rows of the child.
func (r *keptRig) store(n int) {
	r.t.Helper()
	err := r.conn.Exec(r.t.Context(), fmt.Sprintf(`INSERT INTO otel_logs (TenantId, Partition, RetentionDays, ReceivedAt, Timestamp, Body)
		SELECT '%s', '%s', 30, now(), now64(9), randomString(500) FROM numbers(%d)`, r.child.ID, r.child.Partition, n))
	if err != nil {
		r.t.Fatal(err)
	}
}

// events are those there are: day and threshold.
func (r *keptRig) events() (out []string) {
	r.t.Helper()
	err := r.db.View(r.t.Context(), func(tx *store.Tx) error {
		rows, err := tx.QueryContext(r.t.Context(), `SELECT tenant_id, kind, owner, owner_id, limit_id, day, threshold FROM alerts ORDER BY day, threshold`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var of, kind, owner, id, limit string
			var day int64
			var threshold int
			if err := rows.Scan(&of, &kind, &owner, &id, &limit, &day, &threshold); err != nil {
				return err
			}
			if of != r.root.ID.String() || kind != "limit.storage" || owner != "tenant" || id != of || limit != "limit-storage-bytes" {
				r.t.Errorf("event of %s, %s, %s, %s, %s", of, kind, owner, id, limit)
			}
			out = append(out, fmt.Sprint(time.Unix(day*86400, 0).UTC().Format("02."), " ", threshold))
		}
		return rows.Err()
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *keptRig) wantEvents(when string, want ...string) {
	r.t.Helper()
	if got := r.events(); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: events %v, want %v", when, got, want)
	}
}

// charge is that of a request with a new key of the tenant.
func (r *keptRig) charge(name string) metering.Charge {
	r.t.Helper()
	_, text, err := r.directory.Keys().Create(r.t.Context(), r.operator, auth.NewKey{Tenant: name, Scopes: []auth.KeyScope{auth.ScopeIngest}})
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := r.directory.Authenticate(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return metering.Charge{Tenant: p.Tenant(), Key: p.KeyID(), Signal: metering.Logs, AtLimit: p.AtLimit(), Limits: p.Chain()}
}

// hold returns the id of the limit that a request meets.
func (r *keptRig) hold(name string) string {
	r.t.Helper()
	var hold metering.Reservation
	defer hold.Release()
	err := r.meter.Hold(&hold, r.charge(name), 1, r.clock)
	var limit *metering.LimitError
	if errors.As(err, &limit) {
		return limit.LimitID
	}
	return fmt.Sprint(err)
}

func TestStorageLimitsAreHeldAndTold(t *testing.T) {
	r := newKeptRig(t)
	if _, known := r.Kept(r.root.ID); known {
		t.Error("kept bytes are known before they are measured")
	}
	r.mustTurn()
	r.store(1000)
	r.limit(1)
	r.mustTurn()
	total, _ := r.Kept(r.root.ID)
	if own, known := r.Kept(r.child.ID); !known || own != total || total < 300_000 {
		t.Fatalf("root keeps %d, child %d", total, own)
	}
	if a, b := r.hold("root"), r.hold("child"); a != "limit-storage-bytes" || b != "limit-storage-bytes-parent" {
		t.Errorf("at the limit: %s, %s", a, b)
	}
	r.wantEvents("the first measurement with a limit tells of the highest", "29. 100")

	// With room again requests pass at the next measurement, and what is reached then is told of as it is passed.
	r.clock = r.clock.Add(24 * time.Hour)
	r.limit(3 * total)
	r.mustTurn()
	if a, b := r.hold("root"), r.hold("child"); a != "<nil>" || b != "<nil>" {
		t.Errorf("below the limit: %s, %s", a, b)
	}
	r.limit(total * 100 / 85)
	r.mustTurn()
	r.mustTurn()
	r.wantEvents("85 %", "29. 100", "30. 50", "30. 80")
	r.store(1000)
	r.mustTurn()
	r.wantEvents("170 %", "29. 100", "30. 50", "30. 80", "30. 90", "30. 100")
	if b := r.hold("child"); b != "limit-storage-bytes-parent" {
		t.Errorf("beyond the limit: %s", b)
	}

	// Other processes make no second event of a day, nor those of what was passed before them.
	k := r.another(r.keeper)
	if err := k.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wantEvents("another process", "29. 100", "30. 50", "30. 80", "30. 90", "30. 100")
	r.clock = r.clock.Add(24 * time.Hour)
	r.mustTurn()
	r.wantEvents("the next day, nothing new", "29. 100", "30. 50", "30. 80", "30. 90", "30. 100")
}

func TestStorageKeepsTheLastNumbersWhileTheEngineIsAway(t *testing.T) {
	r := newKeptRig(t)
	r.store(100)
	r.limit(1)
	r.mustTurn()
	before, _ := r.Kept(r.root.ID)
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	r.clock = r.clock.Add(time.Hour)
	if err := r.turn(t.Context()); err == nil {
		t.Error("measured without an engine")
	}
	if n, known := r.Kept(r.root.ID); !known || n != before || r.hold("child") != "limit-storage-bytes-parent" {
		t.Errorf("kept %d, want %d; the child gets %s", n, before, r.hold("child"))
	}
	if n := testutil.ToFloat64(r.failures); n != 1 {
		t.Errorf("failures %v, want 1", n)
	}
}

// Nobody is asked each minute for what no limit needs.
func TestStorageIsMeasuredSeldomWithoutLimits(t *testing.T) {
	r := newKeptRig(t)
	for _, c := range []struct {
		after    time.Duration
		limit    int64
		measured bool
	}{{0, 0, true}, {time.Minute, 0, false}, {8 * time.Minute, 0, false}, {time.Minute, 0, true}, {time.Minute, 5, true}, {time.Minute, 5, true}, {time.Minute, 0, false}} {
		r.clock = r.clock.Add(c.after)
		r.limit(c.limit)
		before := r.at
		r.mustTurn()
		if got := r.at != before; got != c.measured {
			t.Errorf("%v later with a limit of %d: measured %v", c.after, c.limit, got)
		}
	}
}

// TestDaysResetAtMidnightOfTheTenant: of a zone half an hour off, of a day of 23 hours and one of 25.
func TestDaysResetAtMidnightOfTheTenant(t *testing.T) {
	r := newKeptRig(t)
	for i, c := range []struct{ zone, begin, end string }{
		{"Asia/Kolkata", "2026-03-14T18:30:00Z", "2026-03-15T18:30:00Z"},
		{"+05:45", "2026-03-15T18:15:00Z", "2026-03-16T18:15:00Z"},
		{"Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"Pacific/Pago_Pago", "2026-06-01T11:00:00Z", "2026-06-02T11:00:00Z"},
		{"Pacific/Kiritimati", "2026-06-05T10:00:00Z", "2026-06-06T10:00:00Z"},
		{"UTC", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"},
	} {
		begin, end := moment(t, c.begin), moment(t, c.end)
		r.clock = begin
		meter, err := metering.OpenMeter(t.Context(), r.db, begin.Add(-time.Second), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("zone", i)
		limit := int64(100)
		_, err = r.directory.Tenants().Create(t.Context(), r.operator, auth.NewTenant{Name: name, TimeZone: c.zone, DailyBytes: &limit})
		if err != nil {
			t.Fatal(err)
		}
		charge := r.charge(name)
		for _, step := range []struct {
			at    time.Time
			bytes int64
			fits  bool
		}{
			{begin.Add(-time.Second), 100, true}, // the day before
			{begin.Add(-time.Second), 1, false},
			{begin, 60, true},
			{end.Add(-time.Second), 41, false},
			{end.Add(-time.Second), 40, true},
			{end, 100, true},
		} {
			var hold metering.Reservation
			err := meter.Hold(&hold, charge, step.bytes, step.at)
			hold.Commit()
			var refused *metering.LimitError
			if errors.As(err, &refused) == step.fits || err != nil && refused == nil {
				t.Errorf("%s: %d bytes at %v: %v", c.zone, step.bytes, step.at, err)
			}
			if refused != nil && !refused.Reset.Equal(begin) && !refused.Reset.Equal(end) {
				t.Errorf("%s: at %v the reset is told as %v", c.zone, step.at, refused.Reset)
			}
		}
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
