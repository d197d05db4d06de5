package metering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Stored is what is known of the rows that receipts were given for. There is one implementation, storage.Counter; it is an
// interface because metering and storage do not import each other. Counts come in the order of hours, then of ids; hours are
// the hours of receipt in unix seconds. All methods may be called concurrently, and read only.
type Stored interface {
	UnsafeByTenant(ctx context.Context, signal string, from, to int64, only tenant.ID, each func(hour int64, tenantID string, records int64) error) error
	UnsafeByRun(ctx context.Context, signal string, from, to int64, each func(hour int64, run uint64, records int64) error) error
	UnsafeTables(ctx context.Context, signal string, hour int64, tenantID string) (map[string]int64, error)
	// UnsafeAside tells of acked requests whose rows ClickHouse does not take: all records of receipt, or some.
	UnsafeAside(ctx context.Context, each func(signal, tenantID string, received int64, receipt []byte, records int64) error) error
	// Recorded reports whether the log still knows a run.
	Recorded(run uint64) bool
}

// The kinds of drift.
const (
	DriftRows   = "rows"   // ClickHouse has more or fewer records of a tenant than the ledger, in an hour of receipt
	DriftRuns   = "runs"   // ClickHouse has rows of a run that the ledger does not know, or not as many as the run brought
	DriftLedger = "ledger" // the ledger's sums over an hour are not what the runs have added
)

var driftKinds = []string{DriftRows, DriftRuns, DriftLedger}

// Drift is one difference.
type Drift struct {
	Kind     string           `json:"kind"`
	Hour     time.Time        `json:"hour"` // of receipt, its start
	Signal   Signal           `json:"signal"`
	Tenant   string           `json:"tenant,omitempty"`    // name; of kind rows
	TenantID string           `json:"tenant_id,omitempty"` // of kind rows
	Tables   map[string]int64 `json:"tables,omitempty"`    // of kind rows: records that each table has
	Run      string           `json:"run,omitempty"`       // of kind runs, as in the column RunId
	Field    string           `json:"field"`               // what is counted: records, billed_bytes, …
	Want     int64            `json:"want"`                // by the ledger; by the runs for kind ledger
	Have     int64            `json:"have"`
	Note     string           `json:"note,omitempty"`
}

// The reasons why a difference is no drift.
const (
	SkipDeleted  = "tenant-deleted" // the tenant's rows were removed with it
	SkipExpired  = "retention"      // rows that old may be gone
	SkipAside    = "set-aside"      // ClickHouse refuses the rows; see headgate wal rejected
	SkipWaiting  = "waiting"        // the log holds requests of the hour that are tried again
	SkipRunsGone = "runs-added-up"  // the runs of the hour are not kept one by one any more
	SkipRun      = "run-explained"  // a run's rows differ, but those of every tenant of the hour agree
)

// Skipped counts differences that are no drift.
type Skipped struct {
	Reason   string `json:"reason"`
	Tenant   string `json:"tenant,omitempty"`
	TenantID string `json:"tenant_id,omitempty"`
	Signal   Signal `json:"signal,omitempty"`
	Count    int64  `json:"count"`   // of tenants' hours, or of runs
	Records  int64  `json:"records"` // that were not compared
}

// Report is the outcome of one comparison.
type Report struct {
	StartedAt  time.Time      `json:"started_at"`
	FinishedAt time.Time      `json:"finished_at"`
	From       time.Time      `json:"from"` // hours of receipt that were compared
	To         time.Time      `json:"to"`   // never beyond the seal
	Tenant     string         `json:"tenant,omitempty"`
	Cells      int64          `json:"cells"`   // hours of one tenant and signal
	Records    int64          `json:"records"` // of the ledger, compared with ClickHouse
	Runs       int64          `json:"runs"`    // parts of runs, by hour
	Hours      int64          `json:"hours"`   // whose sums were compared with the runs, per signal
	DriftRows  map[string]int `json:"drift_rows"`
	Drift      []Drift        `json:"drift"` // at most 1000; DriftRows counts all
	Skipped    []Skipped      `json:"skipped"`
}

// Drifts returns the number of differences.
func (r Report) Drifts() (n int) {
	for _, k := range driftKinds {
		n += r.DriftRows[k]
	}
	return n
}

const (
	maxDrift   = 1000
	maxSkipped = 1000
)

func (r *Report) drift(d Drift) {
	r.DriftRows[d.Kind]++
	if len(r.Drift) < maxDrift {
		r.Drift = append(r.Drift, d)
	}
}

// skipKey names a line of Report.Skipped.
type skipKey struct {
	reason, tenantID string
	signal           Signal
}

// skip counts a difference that is no drift. Tenants beyond maxSkipped share a line.
func (c *comparison) skip(s Skipped) {
	k := skipKey{s.Reason, s.TenantID, s.Signal}
	i, ok := c.skipped[k]
	if !ok && len(c.report.Skipped) >= maxSkipped {
		s.Tenant, s.TenantID, k.tenantID = "", "", ""
		i, ok = c.skipped[k]
	}
	if !ok {
		c.skipped[k] = len(c.report.Skipped)
		c.report.Skipped = append(c.report.Skipped, s)
		return
	}
	c.report.Skipped[i].Count += s.Count
	c.report.Skipped[i].Records += s.Records
}

// Progress tells how far a comparison has come.
type Progress struct {
	Step   string    `json:"step"` // rows, runs, ledger
	Signal Signal    `json:"signal,omitempty"`
	Hour   time.Time `json:"hour"` // before which all is compared
	Cells  int64     `json:"cells"`
	Drift  int       `json:"drift"`
}

// VerifyFilter selects what is compared.
type VerifyFilter struct {
	// From and To are rounded to full hours as in Filter. A zero From is the beginning of the ledger; To is at most the
	// seal, and zero is the seal.
	From, To time.Time
	// Tenant is the only one if it is not zero; then runs and sums, which are of all tenants, are left out.
	Tenant     tenant.ID
	TenantName string // for the report
}

// ErrBusy says that a comparison is under way; there is one at a time.
var ErrBusy = errors.New("usage is being verified already")

// Verifier compares the ledger with what ClickHouse holds and with the runs that brought it. It is safe for concurrent use.
//
// It reads sealed hours, of which neither the ledger nor ClickHouse changes any more, save by deletion, retention and
// requests that were set aside; what differs for these reasons is not drift, and is told. Memory is bounded by the tenants,
// and by the runs, of one hour; the counting is ClickHouse's.
type Verifier struct {
	ledger *Ledger
	stored Stored
	log    *slog.Logger
	m      *verifyMetrics

	running   sync.Mutex
	published map[signalCell]aside // to other replicas; of Run alone
}

// NewVerifier makes a Verifier. It starts nothing.
func NewVerifier(l *Ledger, s Stored, reg prometheus.Registerer) *Verifier {
	return &Verifier{ledger: l, stored: s, log: l.log, m: newVerifyMetrics(reg)}
}

// UnsafeVerify compares, and calls progress, unless it is nil, now and then. A difference is in the report and no error. The
// report over all tenants is kept for Last.
//
// SECURITY: it crosses tenants; only for operators.
func (v *Verifier) UnsafeVerify(ctx context.Context, f VerifyFilter, progress func(Progress)) (Report, error) {
	return v.verify(ctx, f, progress, 0)
}

// verify is UnsafeVerify; through is what daily comparisons have reached with it, 0 for others.
func (v *Verifier) verify(ctx context.Context, f VerifyFilter, progress func(Progress), through int64) (Report, error) {
	if !v.running.TryLock() {
		return Report{}, ErrBusy
	}
	defer v.running.Unlock()
	c, err := v.begin(ctx, f, progress)
	if err != nil {
		return Report{}, fmt.Errorf("verify usage: %w", err)
	}
	if err := c.run(ctx); err != nil {
		v.m.failures.Inc()
		return Report{}, fmt.Errorf("verify usage: %w", err)
	}
	c.report.FinishedAt = v.ledger.now().UTC()
	if f.Tenant.IsZero() {
		if err := v.keep(ctx, c.report, through); err != nil {
			return Report{}, fmt.Errorf("keep the result of verifying usage: %w", err)
		}
	}
	v.tell(c.report)
	return c.report, nil
}

// tell logs a drift.
func (v *Verifier) tell(r Report) {
	if r.Drifts() == 0 {
		v.log.Info("usage is verified", "from", r.From, "to", r.To, "records", r.Records)
		return
	}
	first := r.Drift[0]
	v.log.Error("usage drifts: ledger, runs and ClickHouse differ; see headgate usage verify", "from", r.From, "to", r.To,
		"rows", r.DriftRows[DriftRows], "runs", r.DriftRows[DriftRuns], "ledger", r.DriftRows[DriftLedger],
		"first_kind", first.Kind, "first_hour", first.Hour, "first_signal", first.Signal, "tenant", first.TenantID,
		"want", first.Want, "have", first.Have)
}

// comparison is one under way.
type comparison struct {
	*Verifier
	from, to int64
	only     tenant.ID
	report   Report
	progress func(Progress)
	told     time.Time
	tenants  map[string]*tenantState
	skipped  map[skipKey]int // places in report.Skipped
	waiting  int64           // a log has unfinished requests of hours from here on
}

func (v *Verifier) begin(ctx context.Context, f VerifyFilter, progress func(Progress)) (*comparison, error) {
	now := v.ledger.now()
	c := &comparison{Verifier: v, only: f.Tenant, progress: progress, from: firstHour, to: math.MaxInt64, told: now,
		tenants: map[string]*tenantState{}, skipped: map[skipKey]int{}}
	first, sealed, err := v.ledger.bounds(ctx, now)
	if err != nil {
		return nil, err
	}
	if !f.From.IsZero() {
		c.from = hourOf(f.From)
	}
	if !f.To.IsZero() {
		c.to = hourOf(f.To.Add(time.Hour - time.Nanosecond))
	}
	if !f.From.IsZero() && !f.To.IsZero() && c.to <= c.from {
		return nil, fmt.Errorf("%w: from %s to %s is no time", ErrFilter, f.From.Format(time.RFC3339), f.To.Format(time.RFC3339))
	}
	if f.From.IsZero() {
		c.from = first // ClickHouse is asked for the same hours
	}
	c.to = max(min(c.to, sealed), c.from)
	c.report = Report{StartedAt: now.UTC(), From: time.Unix(c.from, 0).UTC(), To: time.Unix(c.to, 0).UTC(), Tenant: f.TenantName,
		DriftRows: map[string]int{}, Drift: []Drift{}, Skipped: []Skipped{}}
	for _, k := range driftKinds {
		c.report.DriftRows[k] = 0
	}
	return c, nil
}

// run makes all comparisons, from which a difference is most exactly told to which it is least.
func (c *comparison) run(ctx context.Context) error {
	if c.to == c.from {
		return nil
	}
	drifted := map[Signal]map[int64]sides{}
	for _, s := range signalCodes[1:] {
		hours, err := c.rows(ctx, s)
		if err != nil {
			return err
		}
		drifted[s] = hours
		c.done(DriftRows, s)
	}
	if !c.only.IsZero() {
		return nil
	}
	for _, s := range signalCodes[1:] {
		if err := c.runs(ctx, s, drifted[s]); err != nil {
			return err
		}
		c.done(DriftRuns, s)
	}
	if err := c.sums(ctx); err != nil {
		return err
	}
	c.done(DriftLedger, "")
	return nil
}

const progressInterval = time.Second

// tick tells the progress once a second.
func (c *comparison) tick(step string, s Signal, hour int64) {
	if c.progress != nil && c.ledger.now().Sub(c.told) >= progressInterval {
		c.tellProgress(step, s, hour)
	}
}

// done tells that a step has come to its end.
func (c *comparison) done(step string, s Signal) {
	if c.progress != nil {
		c.tellProgress(step, s, c.to)
	}
}

func (c *comparison) tellProgress(step string, s Signal, hour int64) {
	c.told = c.ledger.now()
	c.progress(Progress{Step: step, Signal: s, Hour: time.Unix(hour, 0).UTC(), Cells: c.report.Cells, Drift: c.report.Drifts()})
}
