package storage

import (
	"context"
	"errors"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage/schema"
)

const maxBackoff = 10 * time.Second

// errStopped ends a lane with its run unsettled; the next start settles it.
var errStopped = errors.New("stopped before the run was settled")

// delivery takes runs of one lane to ClickHouse and the ledger.
type delivery struct {
	lane    *lane
	conn    driver.Conn
	patient context.Context // until it ends, what fails is tried again
	ctx     context.Context // of the statements
	timeout time.Duration   // of the statements of the run in hand
}

// A refusal is the first one of a table for a run that had a request: by how many runs the table had taken until then it is seen
// later whether others fare better. The zero value is none.
type refusal struct {
	table string
	taken int
}

// deliver takes r to ClickHouse and to the ledger, however long that takes. It returns errStopped if that was not done, and
// nil if nothing is left to be done for r, or if what is left is a suspect. before is the refusal that made r what it is.
func (d *delivery) deliver(r *run, before refusal) error {
	p, err := d.plan(r)
	if err != nil {
		return err
	}
	var no *refusedError
	switch err := d.describe(r, p); {
	case errors.As(err, &no):
		return d.refused(r, p, p.tables, schema.MetricsSeries, no, before)
	case err != nil:
		return err
	}
	for i, t := range p.tables {
		err := d.insert(r, t)
		switch {
		case errors.As(err, &no):
			return d.refused(r, p, p.tables[i:], t.name, no, before)
		case err != nil:
			return err
		}
	}
	return d.settle(r, p)
}

// settle puts the receipts of r into the ledger and forgets r.
func (d *delivery) settle(r *run, p *plan) error {
	l := d.lane.log
	err := d.insist("apply receipts", func(ctx context.Context) error { return l.opt.Ledger.Apply(ctx, r.id, p.receipts) })
	if err != nil {
		return err
	}
	l.metrics.settled(p)
	l.purged(p.dropped)
	l.finish(d.ctx, r, p.bytes)
	return nil
}

// refused deals with a run that a table refuses for what is in it, before any row of r was in the tables missing. Several
// requests are tried again in two halves, so that the one at fault is found; a single one is a suspect, or set aside if the table
// has taken others since it was first refused.
func (d *delivery) refused(r *run, p *plan, missing []*tablePlan, table string, no *refusedError, before refusal) error {
	ln := d.lane
	var left []string
	for _, t := range missing {
		left = append(left, t.name)
	}
	if before.table != table {
		before = refusal{table, ln.taken[table]}
	}
	if len(r.entries) == 1 {
		r.tables, r.sent = left, true
		if ln.taken[table] > before.taken {
			return d.setAside(r, p, no)
		}
		ln.suspects = append(ln.suspects, &suspect{run: r, before: before, due: ln.log.opt.Now().Add(suspectDelay)})
		ln.log.log.Warn("ClickHouse refuses a request; it waits until others show that its table is well", "table", table, "run_id", r.id, "err", no)
		return nil
	}
	ln.log.log.Warn("ClickHouse refuses a run; its requests are tried in halves", "table", table, "requests", len(r.entries), "run_id", r.id, "err", no)
	ln.log.metrics.splits.Inc()
	half := len(r.entries) / 2
	parts := []*run{{entries: r.entries[:half]}, {entries: r.entries[half:]}}
	for _, part := range parts {
		part.id, part.signal, part.tables = ln.log.newRunID(), r.signal, left
	}
	if err := d.insist("record halves", func(context.Context) error { return ln.log.record(parts...) }); err != nil {
		return err
	}
	return errors.Join(d.deliver(parts[0], before), d.deliver(parts[1], before))
}

// setAside takes the one request of r out of the way.
func (d *delivery) setAside(r *run, p *plan, no *refusedError) error {
	l := d.lane.log
	err := d.insist("set request aside", func(context.Context) error {
		entry, err := l.wal.Read(r.entries[0], nil)
		if err != nil {
			return err
		}
		return l.setAside(aside{at: r.entries[0], entry: entry, tables: r.tables, reason: no.Error()})
	})
	if err != nil {
		return err
	}
	return d.settle(r, p)
}

// A suspect is a run of one request that ClickHouse has refused. It is tried again now and then: what is wrong may be the
// table, and then no request is set aside.
type suspect struct {
	run    *run
	before refusal
	due    time.Time
	tries  int
}

const suspectDelay = time.Second

// retrySuspects tries those that are due.
func (d *delivery) retrySuspects() {
	ln := d.lane
	now := ln.log.opt.Now()
	due := ln.suspects
	ln.suspects = nil
	for _, s := range due {
		if d.patient.Err() != nil || s.due.After(now) {
			ln.suspects = append(ln.suspects, s)
			continue
		}
		kept := len(ln.suspects)
		if d.deliver(s.run, s.before) != nil {
			ln.suspects = append(ln.suspects, s)
		}
		if len(ln.suspects) > kept { // it still is one
			s.tries++
			s.due = ln.log.opt.Now().Add(min(suspectDelay<<min(s.tries, 10), time.Minute))
			ln.suspects[kept] = s
		}
	}
}

// insist calls f until it succeeds, with pauses that grow. It returns errStopped if that does not happen in time.
func (d *delivery) insist(what string, f func(context.Context) error) error {
	for backoff := d.lane.log.opt.Backoff; ; backoff = min(2*backoff, maxBackoff) {
		err := f(d.ctx)
		if err == nil {
			return nil
		}
		d.lane.log.log.Warn(what+" failed", "signal", d.lane.signal, "err", err)
		if !d.pause(backoff) {
			return errStopped
		}
	}
}

// pause waits, and reports false if there is no time for another try.
func (d *delivery) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return d.patient.Err() == nil
	case <-d.patient.Done():
		return false
	}
}
