package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
)

// Telemetry is what is to be deleted of a tenant outside of the state database. Its methods may be called again after an error,
// and after a kill.
type Telemetry interface {
	// Cleared reports whether this process's log sends nothing of the tenant any more, and what it has dropped. since is when this
	// process first knew of the deletion.
	Cleared(id tenant.ID, since time.Time) (storage.Dropped, bool, error)
	// Quiet returns nil if nothing is being inserted that a log began before age ago.
	Quiet(ctx context.Context, age time.Duration) error
	// Count counts the tenant's rows in every table.
	Count(ctx context.Context, id tenant.ID) ([]storage.TableCount, error)
	// Delete removes them, and tells say what it does.
	Delete(ctx context.Context, id tenant.ID, say func(doing string)) error
}

// StoredTelemetry is what the log and ClickHouse have.
type StoredTelemetry struct {
	Log  *storage.Log
	Conn driver.Conn
}

// Cleared is of the log and of what it has set aside.
func (s StoredTelemetry) Cleared(id tenant.ID, since time.Time) (storage.Dropped, bool, error) {
	d, cleared := s.Log.Cleared(id, since)
	aside, err := s.Log.AsideOf(id)
	return d, cleared && aside == 0, err
}

// Quiet asks ClickHouse.
func (s StoredTelemetry) Quiet(ctx context.Context, age time.Duration) error {
	return storage.Quiet(ctx, s.Conn, age)
}

// Count asks ClickHouse.
func (s StoredTelemetry) Count(ctx context.Context, id tenant.ID) ([]storage.TableCount, error) {
	return storage.CountTenant(ctx, s.Conn, id)
}

// Delete has ClickHouse delete.
func (s StoredTelemetry) Delete(ctx context.Context, id tenant.ID, say func(string)) error {
	return storage.DeleteTenant(ctx, s.Conn, id, say)
}

const (
	// deletionInterval is how often a process looks for deletions when nobody wakes it.
	deletionInterval = time.Second
	// deletionLease is how long a process that is silent keeps a deletion to itself.
	deletionLease = 30 * time.Second
	// Deletions that ended in the last lateFor are looked at again every lateInterval: rows of a process that was cut off from the
	// state database could have come late.
	lateInterval = 10 * time.Minute
	lateFor      = 30 * 24 * time.Hour
)

// Deleter carries out deletions of tenants, and goes on with those that a kill has interrupted. Of all processes of a database one
// works on a deletion; each sees to its own log.
type Deleter struct {
	Directory *auth.Directory
	Telemetry Telemetry
	Log       string // the name of this process's log; "": it has none
	Worker    string // of this process, no other's, and the same after a restart; "": it leaves the work to others, but for its log
	Now       func() time.Time
	Logger    *slog.Logger
	Patience  time.Duration // of the answer to who asks for a deletion; 0 is five seconds
	// Reached is told of each step before it begins, and of what it has done ("rows done") before that is written. nil: nobody is.
	Reached func(point string)

	once  sync.Once
	wake  chan struct{}
	since map[tenant.ID]time.Time // when each deletion was first seen; of Run alone
	late  time.Time               // of the last look at those that ended; of Run alone
}

func (d *Deleter) woken() chan struct{} {
	d.once.Do(func() { d.wake = make(chan struct{}, 1) })
	return d.wake
}

// Wake lets Run look for deletions at once.
func (d *Deleter) Wake() {
	select {
	case d.woken() <- struct{}{}:
	default:
	}
}

// Run carries out deletions until ctx ends. What fails is tried again, and its reason is shown with the deletion.
func (d *Deleter) Run(ctx context.Context) error {
	tick := time.NewTicker(deletionInterval)
	defer tick.Stop()
	d.since = map[tenant.ID]time.Time{}
	adopted := false
	for {
		if !adopted && d.Worker != "" {
			adopted = d.Directory.UnsafeAdoptDeletions(ctx) == nil
		}
		if err := d.turn(ctx); err != nil && ctx.Err() == nil {
			d.Logger.Warn("deletions of tenants cannot go on", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.woken():
		}
	}
}

// turn brings every deletion as far as it goes now. Those that cannot go on hold no other up.
func (d *Deleter) turn(ctx context.Context) error {
	all, err := d.Directory.UnsafeDeletions(ctx, d.Now().Add(-lateFor))
	if err != nil {
		return err
	}
	look := d.Worker != "" && d.Now().Sub(d.late).Abs() >= lateInterval
	if look {
		d.late = d.Now()
	}
	for _, x := range all {
		if x.EndedAt != nil {
			if look {
				err = errors.Join(err, d.again(ctx, x))
			}
			continue
		}
		err = errors.Join(err, d.clear(ctx, x))
		if ctx.Err() == nil && d.Worker != "" {
			d.work(ctx, x)
		}
	}
	return err
}

// clear sees to this process's own log.
func (d *Deleter) clear(ctx context.Context, x auth.Deletion) error {
	if d.Log == "" || !d.Directory.Deleting(x.Tenant.String()) { // the log does not drop its rows yet
		return nil
	}
	if d.since[x.Tenant].IsZero() {
		d.since[x.Tenant] = d.Now()
	}
	if _, done := x.Report.Logs[d.Log]; done {
		return nil
	}
	dropped, cleared, err := d.Telemetry.Cleared(x.Tenant, d.since[x.Tenant])
	if err != nil || !cleared {
		return err
	}
	_, err = d.Directory.Progress(ctx, x.Tenant, func(x *auth.Deletion) error {
		if x.Report.Logs == nil {
			x.Report.Logs = map[string]auth.LogGone{}
		}
		x.Report.Logs[d.Log] = auth.LogGone{At: d.Now().UTC(), Requests: dropped.Requests, Rows: dropped.Rows, Aside: dropped.Aside}
		return nil
	})
	return err
}

// work takes the steps of a deletion that can be taken, unless another process does.
func (d *Deleter) work(ctx context.Context, x auth.Deletion) {
	x, mine, err := d.Directory.LeaseDeletion(ctx, x.Tenant, d.Worker, d.Now().Add(deletionLease))
	if err != nil || !mine {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var holding sync.WaitGroup
	holding.Go(func() { d.hold(ctx, cancel, x.Tenant) })
	err = d.steps(ctx, &x)
	cancelled := ctx.Err() != nil
	cancel()
	holding.Wait()
	if err == nil || cancelled {
		return
	}
	if x.Report.Problem != err.Error() {
		d.Logger.Warn("the deletion of a tenant cannot go on yet", "tenant", x.Tenant.String(), "step", x.Step, "err", err)
	}
	d.tell(context.WithoutCancel(ctx), x.Tenant, func(x *auth.Deletion) { x.Report.Problem = err.Error() })
}

// hold keeps the lease until ctx ends, and ends ctx when it is another's.
func (d *Deleter) hold(ctx context.Context, lost context.CancelFunc, id tenant.ID) {
	tick := time.NewTicker(deletionLease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, mine, err := d.Directory.LeaseDeletion(ctx, id, d.Worker, d.Now().Add(deletionLease)); err == nil && !mine {
			lost()
			return
		}
	}
}

// tell writes progress; a failure of that alone stops nothing.
func (d *Deleter) tell(ctx context.Context, id tenant.ID, fn func(x *auth.Deletion)) {
	_, err := d.Directory.Progress(ctx, id, func(x *auth.Deletion) error { fn(x); return nil })
	if err != nil && ctx.Err() == nil {
		d.Logger.Warn("the progress of a deletion is not written", "tenant", id.String(), "err", err)
	}
}

// steps goes on from where x is to the end, or to what has to be waited for.
func (d *Deleter) steps(ctx context.Context, x *auth.Deletion) error {
	for {
		var err error
		d.reached(x.Step)
		switch x.Step {
		case auth.DeletionLogs:
			var wait bool
			if wait, err = d.awaitLogs(ctx, x); wait && err == nil {
				return nil
			}
		case auth.DeletionRows:
			err = d.deleteRows(ctx, x)
		case auth.DeletionState:
			err = d.eraseState(ctx, x)
		case auth.DeletionVerify:
			var clean bool
			if clean, err = d.verify(ctx, x); clean && err == nil {
				return nil
			}
		default:
			err = fmt.Errorf("step %q is of a later version", x.Step)
		}
		if err != nil {
			return err
		}
	}
}

func (d *Deleter) reached(point string) {
	if d.Reached != nil {
		d.Reached(point)
	}
}

// advance goes to the next step, with what fn writes.
func (d *Deleter) advance(ctx context.Context, x *auth.Deletion, step string, fn func(x *auth.Deletion)) error {
	next, err := d.Directory.Progress(ctx, x.Tenant, func(x *auth.Deletion) error {
		x.Step, x.Report.Doing, x.Report.Problem = step, "", ""
		fn(x)
		return nil
	})
	if err == nil {
		*x = next
	}
	return err
}

// awaitLogs waits for every process that is there: wait says that one is not through yet.
func (d *Deleter) awaitLogs(ctx context.Context, x *auth.Deletion) (wait bool, err error) {
	present, away, err := d.Directory.LogsOf(ctx)
	if err != nil {
		return false, err
	}
	var missing, gone []string
	for _, log := range append([]string{d.Log}, present...) {
		if _, done := x.Report.Logs[log]; log != "" && !done && !slices.Contains(missing, log) {
			missing = append(missing, log)
		}
	}
	for _, log := range away {
		if _, done := x.Report.Logs[log]; !done && log != d.Log {
			gone = append(gone, log)
		}
	}
	if len(missing) > 0 {
		doing := fmt.Sprintf("%d of %d logs may still send rows of the tenant", len(missing), len(missing)+len(x.Report.Logs))
		if x.Report.Doing != doing {
			d.tell(ctx, x.Tenant, func(x *auth.Deletion) { x.Report.Doing = doing })
		}
		return true, nil
	}
	return false, d.advance(ctx, x, auth.DeletionRows, func(x *auth.Deletion) { x.Report.Away = gone })
}

// deleteRows removes the rows from ClickHouse. What was found is written first: it is counted once, whatever is killed.
func (d *Deleter) deleteRows(ctx context.Context, x *auth.Deletion) error {
	began := d.Now()
	if err := d.Telemetry.Quiet(ctx, d.Now().Sub(x.ChangedAt)); err != nil {
		return err
	}
	counts, err := d.Telemetry.Count(ctx, x.Tenant)
	if err != nil {
		return err
	}
	var said time.Time
	say := func(doing string) {
		if now := d.Now(); now.Sub(said).Abs() >= time.Second {
			said = now
			d.tell(ctx, x.Tenant, func(x *auth.Deletion) { x.Report.Doing = doing })
		}
	}
	// Rows that a try before this one has counted and not yet removed are not counted twice.
	d.tell(ctx, x.Tenant, func(x *auth.Deletion) { found(x, counts) })
	if err := d.Telemetry.Delete(ctx, x.Tenant, say); err != nil {
		return err
	}
	d.reached("rows done")
	d.Logger.Info("rows of a deleted tenant are removed", "tenant", x.Tenant.String(), "took", d.Now().Sub(began))
	return d.advance(ctx, x, auth.DeletionState, func(*auth.Deletion) {})
}

// found notes the rows of each table, unless more were found before.
func found(x *auth.Deletion, counts []storage.TableCount) {
	for _, c := range counts {
		have := int64(0)
		for _, r := range x.Report.Removed {
			if r.Store == auth.InClickHouse && r.Table == c.Table {
				have = r.Rows
			}
		}
		if n := int64(c.Rows); n > have {
			x.AddRemoved(auth.Removed{Store: auth.InClickHouse, Table: c.Table, Rows: n - have})
		}
	}
}

func (d *Deleter) eraseState(ctx context.Context, x *auth.Deletion) error {
	if err := d.Directory.EraseState(ctx, x.Tenant); err != nil {
		return err
	}
	d.reached("state done")
	return d.advance(ctx, x, auth.DeletionVerify, func(*auth.Deletion) {})
}

// verify counts in every table; clean says that nothing was found, and that the deletion has ended.
func (d *Deleter) verify(ctx context.Context, x *auth.Deletion) (clean bool, err error) {
	counts, err := d.Telemetry.Count(ctx, x.Tenant)
	if err != nil {
		return false, err
	}
	checks := make([]auth.RowCheck, 0, len(counts))
	for _, c := range counts {
		checks = append(checks, auth.RowCheck{Store: auth.InClickHouse, Query: c.Query, Rows: int64(c.Rows)})
		if c.Rows > 0 {
			d.Logger.Warn("a deleted tenant has rows still", "tenant", x.Tenant.String(), "table", c.Table, "rows", c.Rows)
			return false, d.advance(ctx, x, auth.DeletionRows, func(*auth.Deletion) {})
		}
	}
	if err := d.advance(ctx, x, auth.DeletionVerify, func(x *auth.Deletion) { x.Report.Checks = checks }); err != nil {
		return false, err
	}
	d.reached("verify done")
	if err := d.Directory.EndDeletion(ctx, x.Tenant); err != nil {
		return false, err
	}
	d.reached("done")
	d.Logger.Info("a tenant is deleted", "tenant", x.Tenant.String(), "took", d.Now().Sub(x.AskedAt))
	return true, nil
}

// again looks at a deletion that has ended.
func (d *Deleter) again(ctx context.Context, x auth.Deletion) error {
	counts, err := d.Telemetry.Count(ctx, x.Tenant)
	if err != nil {
		return err
	}
	why := ""
	for _, c := range counts {
		if c.Rows > 0 {
			why = fmt.Sprintf("%d rows in %s", c.Rows, c.Table)
		}
	}
	checks, err := d.Directory.CheckState(ctx, x.Tenant)
	if err != nil {
		return err
	}
	for _, c := range checks {
		if c.Rows > 0 {
			why = fmt.Sprintf("%d rows: %s", c.Rows, c.Query)
		}
	}
	if why == "" {
		return nil
	}
	d.Logger.Warn("a deleted tenant has rows that came late; they are removed", "tenant", x.Tenant.String(), "found", why)
	delete(d.since, x.Tenant)
	return d.Directory.ReopenDeletion(ctx, x.Tenant, why)
}
