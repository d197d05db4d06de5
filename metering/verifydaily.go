package metering

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering/alert"
)

const (
	// verifyInterval is how often Run looks whether a day is to be verified.
	verifyInterval = time.Minute
	// verifyWithin is the time after a day was sealed within which it is verified, at a moment drawn by lot.
	verifyWithin = time.Hour
	// verifyAtMost bounds how far back a daily comparison goes when days were missed.
	verifyAtMost = 31 * 24 * time.Hour
	// maxDriftAlerts bounds the events of one comparison.
	maxDriftAlerts = 100
)

// Run tells other replicas what this one has set aside, and verifies each day once it is sealed, with those that were missed, until ctx ends.
// What fails is tried again.
func (v *Verifier) Run(ctx context.Context) error {
	if last, ok, err := v.Last(ctx); err == nil && ok {
		v.m.show(last)
	}
	tick := time.NewTicker(verifyInterval)
	defer tick.Stop()
	var due time.Time // zero: no day waits
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		v.tellAside(ctx)
		from, to, err := v.days(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			v.log.Warn("usage was not verified", "err", err)
			continue
		case from.Equal(to):
			continue
		case due.IsZero():
			due = v.ledger.now().Add(rand.N(verifyWithin))
			continue
		case v.ledger.now().Before(due):
			continue
		}
		if err := v.verifyDays(ctx, from, to); err != nil && ctx.Err() == nil {
			v.log.Warn("usage was not verified", "err", err)
			continue
		}
		due = time.Time{}
	}
}

func (v *Verifier) verifyDays(ctx context.Context, from, to time.Time) error {
	if _, err := v.verify(ctx, VerifyFilter{From: from, To: to}, nil, to.Unix()); err != nil {
		return err
	}
	return v.ledger.addUpRuns(ctx, v.ledger.now().Add(-keptRuns))
}

// days returns the sealed days that were not verified yet; none if they are equal.
func (v *Verifier) days(ctx context.Context) (from, to time.Time, err error) {
	now := v.ledger.now()
	_, sealed, err := v.ledger.bounds(ctx, now)
	if err != nil {
		return from, to, err
	}
	to = time.Unix(floorDiv(sealed, daySeconds)*daySeconds, 0).UTC()
	var through int64
	err = v.ledger.db.View(ctx, func(tx *store.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT through FROM usage_verified WHERE id = 1`).Scan(&through)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return from, to, fmt.Errorf("look for verified days: %w", err)
	}
	switch from = time.Unix(through, 0).UTC(); {
	case sealed <= 0 || !from.Before(to):
		return to, to, nil
	case through == 0:
		from = to.Add(-24 * time.Hour)
	case from.Before(to.Add(-verifyAtMost)):
		from = to.Add(-verifyAtMost)
	}
	return from, to, nil
}

// keep stores the report and makes an event for each tenant and day that drifts.
func (v *Verifier) keep(ctx context.Context, r Report, through int64) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = v.ledger.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO usage_verified (id, finished_at, through, report) VALUES (1, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET finished_at = excluded.finished_at, report = excluded.report,
				through = CASE WHEN excluded.through > usage_verified.through THEN excluded.through ELSE usage_verified.through END`,
			r.FinishedAt.UnixMilli(), through, string(raw))
		if err != nil {
			return err
		}
		for _, e := range driftEvents(r) {
			if err := alert.Record(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		v.m.show(r)
	}
	return err
}

// driftEvents are the events of a report: one for each tenant, signal and day whose rows drift. Used is what ClickHouse has
// and Max what the ledger has, of the first hour that drifts.
func driftEvents(r Report) []alert.Event {
	type day struct {
		tenant string
		signal Signal
		day    int64
	}
	told := map[day]bool{}
	var out []alert.Event
	for _, d := range r.Drift {
		k := day{d.TenantID, d.Signal, dayOf(d.Hour)}
		if d.Kind != DriftRows || d.Tenant == "" || told[k] || len(out) == maxDriftAlerts {
			continue // rows of nobody are the operator's to find in the report
		}
		told[k] = true
		out = append(out, alert.Event{Tenant: d.TenantID, Kind: alert.LedgerDrift, Signal: string(d.Signal), Day: k.day,
			Used: d.Have, Max: max(0, d.Want), At: r.FinishedAt})
	}
	return out
}

// Last returns the last report over all tenants; false if there is none.
func (v *Verifier) Last(ctx context.Context) (r Report, ok bool, err error) {
	var raw string
	err = v.ledger.db.View(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT report FROM usage_verified WHERE id = 1`).Scan(&raw)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Report{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(raw), &r)
	}
	if err != nil {
		return Report{}, false, fmt.Errorf("read the last verification of usage: %w", err)
	}
	return r, true, nil
}

// bounds returns the first hour that anything is known of, and the first that is not sealed.
func (l *Ledger) bounds(ctx context.Context, now time.Time) (first, sealed int64, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		var hour sql.NullInt64
		err := tx.QueryRowContext(ctx, `SELECT MIN(hour) FROM (SELECT MIN(hour) AS hour FROM usage_hours
			UNION ALL SELECT MIN(corrects) FROM usage_corrections) AS ends`).Scan(&hour)
		if err != nil {
			return err
		}
		if sealed, err = sealedThrough(ctx, tx, now); err != nil {
			return err
		}
		if first = sealed; hour.Valid {
			first = min(hour.Int64, sealed)
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read the ledger's ends: %w", err)
	}
	return first, sealed, nil
}

type verifyMetrics struct {
	drift    *prometheus.GaugeVec
	finished prometheus.Gauge
	failures prometheus.Counter
}

// newVerifyMetrics registers the metrics unless reg is nil.
func newVerifyMetrics(reg prometheus.Registerer) *verifyMetrics {
	m := &verifyMetrics{
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "headgate_metering_drift_rows",
			Help: "Differences that the last comparison of ledger, runs and ClickHouse found.",
		}, []string{"kind"}),
		finished: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_metering_verified_timestamp_seconds",
			Help: "When ledger, runs and ClickHouse were last compared; 0 is never.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_metering_verify_failures_total",
			Help: "Comparisons that came to no end.",
		}),
	}
	for _, k := range driftKinds {
		m.drift.WithLabelValues(k)
	}
	if reg != nil {
		reg.MustRegister(m.drift, m.finished, m.failures)
	}
	return m
}

func (m *verifyMetrics) show(r Report) {
	for _, k := range driftKinds {
		m.drift.WithLabelValues(k).Set(float64(r.DriftRows[k]))
	}
	m.finished.Set(float64(r.FinishedAt.Unix()))
}
