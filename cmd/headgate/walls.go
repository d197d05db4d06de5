package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/storage/policy"
)

// walls watches over what keeps tenants apart inside ClickHouse. While it does not hold, or is not known to hold, queries are
// refused; everything else goes on.
type walls struct {
	check   func(context.Context) ([]policy.Finding, error)
	refuses bool // queries: the process answers some
	log     *slog.Logger
	hold    prometheus.Gauge

	mu       sync.Mutex // guards the fields below
	began    uint64     // checks; more than one may be under way
	told     uint64     // the newest of them that has told
	known    bool
	unsafe   string // "" while they hold
	findings []policy.Finding
}

const (
	// wallsInterval bounds how long queries go on after a policy was dropped behind headgate's back.
	wallsInterval = 30 * time.Second
	// wallsRetry is for what is wrong or not known: operators who mend it should not wait.
	wallsRetry = 2 * time.Second
)

func newWalls(check func(context.Context) ([]policy.Finding, error), refuses bool, log *slog.Logger, reg prometheus.Registerer) *walls {
	w := &walls{check: check, refuses: refuses, log: log, hold: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "headgate_walls_hold", Help: "Whether row policies, grants and settings in ClickHouse keep tenants apart: 1, or 0 and queries are refused where they are answered.",
	})}
	reg.MustRegister(w.hold)
	return w
}

// look checks once. When ClickHouse does not answer, what was known before stays: its answers will not come either. So does what a
// check has found that began later than this one.
func (w *walls) look(ctx context.Context) {
	w.mu.Lock()
	w.began++
	number := w.began
	w.mu.Unlock()
	findings, err := w.check(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			w.log.Warn("the walls in clickhouse cannot be checked", "err", err)
		}
		return
	}
	if number < w.told {
		return
	}
	w.told = number
	unsafe := policy.Unsafe(findings)
	switch {
	case unsafe != "" && (unsafe != w.unsafe || !w.known):
		w.log.Error(w.says(), "reason", unsafe)
	case unsafe == "" && w.unsafe != "":
		w.log.Info("the walls between tenants hold again")
	}
	w.known, w.unsafe, w.findings = true, unsafe, findings
	w.hold.Set(map[bool]float64{true: 1}[unsafe == ""])
}

// says is what it means that the walls do not hold.
func (w *walls) says() string {
	if w.refuses {
		return "queries are refused: the walls between tenants do not hold"
	}
	return "the walls between tenants do not hold"
}

// run looks again and again until ctx ends, beginning a while after prepared, when there has been a first look.
func (w *walls) run(ctx context.Context, prepared <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-prepared:
	}
	for {
		wait := wallsInterval
		if known, unsafe := w.state(); !known || unsafe != "" {
			wait = wallsRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		w.look(ctx)
	}
}

func (w *walls) state() (known bool, unsafe string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known, w.unsafe
}

// refuse is query.ReaderOptions.Refuse.
func (w *walls) refuse() error {
	switch known, unsafe := w.state(); {
	case !known:
		return query.NotReady
	case unsafe != "":
		return query.Refused
	}
	return nil
}

// wallsReport is what --telemetry tells at /debug/walls.
type wallsReport struct {
	Known    bool             `json:"known"`
	Hold     bool             `json:"hold"`
	Findings []policy.Finding `json:"findings"`
}

func (w *walls) report() wallsReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wallsReport{w.known, w.known && w.unsafe == "", w.findings}
}

// serveReport answers what was found last; to a POST, what is found now.
func (w *walls) serveReport(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		w.look(r.Context())
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = printJSON(rw, w.report())
}
