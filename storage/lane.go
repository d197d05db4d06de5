package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage/wal"
)

// maxRunBytes bounds what the rows of a run take in ClickHouse's memory, uncompressed. Below it, and below 1 M rows, an
// INSERT makes one part per partition, which is what tells afterwards how far it came.
const maxRunBytes = 192 << 20

// MaxPartitions bounds how many partitions one INSERT touches, because each becomes a part on disk.
const MaxPartitions = 64

// lane takes the requests of one signal to ClickHouse, one run at a time: while one is under way the next gathers, so that
// runs grow with the load.
type lane struct {
	log    *Log
	signal string

	backlog *backlog // guarded by log.mu
	rows    int      // of the backlog's requests; guarded by log.mu

	pushed    chan struct{}  // capacity 1: something was added to the backlog
	unsettled []*run         // of the last process
	suspects  []*suspect     // requests that ClickHouse has refused
	taken     map[string]int // runs that each table has taken from this process; INSERTs of series are otel_metrics_series'
	buf       []byte         // reused; one entry
	series    describer
}

func newLane(l *Log, signal string) *lane {
	return &lane{log: l, signal: signal, backlog: newBacklog(), pushed: make(chan struct{}, 1), taken: map[string]int{},
		series: describer{known: newKnownSeries(maxKnownSeries)}}
}

func (ln *lane) pushLocked(tenant string, p pending, rows int) {
	ln.backlog.push(tenant, p, ln.log.opt.Now())
	ln.rows += rows
	select {
	case ln.pushed <- struct{}{}:
	default:
	}
}

// run takes what the backlog holds to ClickHouse until patient ends; then what is left, until the first failure or the end
// of ctx.
func (ln *lane) run(ctx, patient context.Context, conn driver.Conn) {
	d := &delivery{lane: ln, conn: conn, ctx: ctx, patient: patient}
	for _, r := range ln.unsettled {
		if d.deliver(r, refusal{}) != nil {
			return
		}
	}
	ln.unsettled = nil
	for {
		ln.wait(patient)
		d.retrySuspects()
		var r *run
		err := d.insist("form a run", func(context.Context) (err error) {
			r, err = ln.form()
			return err
		})
		if err != nil || r == nil && patient.Err() != nil {
			return
		}
		if r != nil && d.deliver(r, refusal{}) != nil {
			return
		}
	}
}

// wait returns when a run is due: there are enough rows, or the first has waited long enough, or a suspect is to be tried
// again, or ctx has ended.
func (ln *lane) wait(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		due := ln.due()
		if due <= 0 {
			return
		}
		timer.Reset(due)
		select {
		case <-ln.pushed:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// due returns how long until the next run.
func (ln *lane) due() time.Duration {
	l := ln.log
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opt.Now()
	due := time.Hour
	for _, s := range ln.suspects {
		due = min(due, s.due.Sub(now))
	}
	switch {
	case ln.rows >= l.opt.MaxRows:
		return 0
	case ln.backlog.count > 0:
		due = min(due, ln.backlog.first.Add(l.opt.MaxDelay).Sub(now))
	}
	return due
}

// form takes requests from the backlog, as many as one run may have, and records them as a run. It returns nil if nothing
// waits.
func (ln *lane) form() (*run, error) {
	l := ln.log
	f := former{partitions: map[string]map[partition]struct{}{}, maxRows: l.opt.MaxRows}
	for f.rows < f.maxRows {
		l.mu.Lock()
		tenant, taken := ln.backlog.take()
		l.mu.Unlock()
		if len(taken) == 0 {
			break
		}
		n, err := ln.fill(&f, tenant, taken)
		if n < len(taken) {
			l.mu.Lock()
			ln.backlog.giveBack(tenant, taken[n:]...)
			l.mu.Unlock()
		}
		if err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			ln.giveBackLocked(&f)
			return nil, err
		}
		if n < len(taken) {
			break
		}
	}
	if len(f.requests) == 0 {
		return nil, nil
	}
	r := &run{id: l.newRunID(), signal: ln.signal}
	for _, q := range f.requests {
		r.entries = append(r.entries, q.at)
	}
	slices.Sort(r.entries) // the order of the log is read fastest
	err := l.record(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		ln.giveBackLocked(&f)
		delete(l.recorded, r.id)
		return nil, err
	}
	if ln.rows -= f.rows; ln.backlog.count == 0 {
		ln.rows = 0
	}
	ln.backlog.first = l.opt.Now() // what is left has its delay again, unless it is enough for a run
	return r, nil
}

// giveBackLocked returns what was taken for a run that came to nothing.
func (ln *lane) giveBackLocked(f *former) {
	for _, q := range f.requests {
		ln.backlog.giveBack(q.tenant, q.pending)
	}
}

// fill adds requests to the run until one does not fit, and returns how many were added.
func (ln *lane) fill(f *former, tenant string, taken []pending) (int, error) {
	for i, p := range taken {
		h, err := ln.head(p.at)
		if isDamage(err) {
			ln.log.giveUp(p.at, err)
			ln.log.mu.Lock()
			ln.backlog.finished(tenant, int64(p.size))
			ln.log.mu.Unlock()
			continue
		}
		if err != nil {
			return i, err
		}
		if !f.add(tenant, p, h) {
			return i, nil
		}
	}
	return len(taken), nil
}

func (ln *lane) head(at position) (h head, err error) {
	if ln.buf, err = ln.log.wal.Read(at, ln.buf[:0]); err != nil {
		return head{}, fmt.Errorf("read request at %s: %w", at, err)
	}
	return parseHead(ln.buf)
}

// former gathers a run.
type former struct {
	maxRows    int
	rows, raw  int
	requests   []formed
	partitions map[string]map[partition]struct{} // by table
}

type formed struct {
	pending
	tenant string
}

type partition struct {
	placement string
	day       uint16
}

// add adds a request, or reports that the run has no room for it. The first always fits.
func (f *former) add(tenant string, p pending, h head) bool {
	raw := 0
	fits := true
	for _, t := range h.tables {
		raw += t.raw
		n := len(f.partitions[t.table])
		for _, day := range t.days {
			if _, ok := f.partitions[t.table][partition{t.partition, day}]; !ok {
				n++
			}
		}
		fits = fits && n <= MaxPartitions
	}
	if len(f.requests) > 0 && (!fits || f.raw+raw > maxRunBytes || f.rows+h.rows() > 2*f.maxRows) {
		return false
	}
	for _, t := range h.tables {
		ps := f.partitions[t.table]
		if ps == nil {
			ps = map[partition]struct{}{}
			f.partitions[t.table] = ps
		}
		for _, day := range t.days {
			ps[partition{t.partition, day}] = struct{}{}
		}
	}
	f.raw += raw
	f.rows += h.rows()
	f.requests = append(f.requests, formed{p, tenant})
	return true
}

// isDamage reports whether an entry cannot be read however often one tries.
func isDamage(err error) bool { return errors.Is(err, wal.ErrCorrupt) || errors.Is(err, errEntry) }
