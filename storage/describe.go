package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// The log knows nothing of series: what a run's points say of theirs is read from the same blocks that are inserted, and
// written first. So a row of otel_metrics_series is there before any point that it describes, whoever is killed when: what
// becomes of the points is tried again, and with it this. It is no part of what is asked for after an uncertain INSERT, and
// in no receipt; writing a row twice is writing it once.

// describer finds the series of a lane's runs that otel_metrics_series may lack.
type describer struct {
	known  *knownSeries
	reader native.Reader
	rows   *seriesRows // reused
	entry  []byte      // reused
}

// seriesPerInsert is how many series one INSERT has, but for those of the last request.
const seriesPerInsert = 50_000

// undescribed reports whether the request whose entry is given has points in tables (nil is all) of series that are not known.
func (s *describer) undescribed(l *Log, entry []byte, h head, tables []string) bool {
	for _, t := range h.tables {
		if seriesKinds[t.table] == "" || tables != nil && !slices.Contains(tables, t.table) {
			continue
		}
		b, err := t.block(entry)
		if err == nil {
			s.reader.Reset(b)
			var p points
			p, err = readPoints(&s.reader, h, t)
			if err == nil && !p.known(s.known) {
				return true
			}
		}
		if err != nil && !errors.Is(err, errNoSeries) {
			l.undescribable(t.table, err)
		}
	}
	return false
}

// undescribable tells of points whose series cannot be read: they are inserted all the same.
func (l *Log) undescribable(table string, err error) {
	l.metrics.undescribed.Inc()
	l.log.Error("what points say of their series cannot be read", "table", table, "err", err)
}

// describe writes the series of r that are not known, and returns nil when ClickHouse has them. It is to be called before the
// points are sent. A *refusedError means that no point of r is in ClickHouse either.
func (d *delivery) describe(r *run, p *plan) error {
	err := d.writeSeries(r, p)
	var no *refusedError
	if !errors.As(err, &no) {
		return err
	}
	l := d.lane.log
	l.metrics.seriesRefused.Inc()
	begun, err := d.begun(r, p)
	switch {
	case err != nil:
		return err
	case !begun:
		return no
	}
	// Points of r were sent by a process that wrote their series before them. To halve r would be to send them again.
	l.log.Warn("series are refused that were written before", "run_id", r.id, "err", no)
	return nil
}

// begun reports whether ClickHouse has any row of r.
func (d *delivery) begun(r *run, p *plan) (begun bool, err error) {
	if !r.sent {
		return false, nil
	}
	for _, t := range p.tables {
		err := d.insist("ask for a run's rows", func(context.Context) error {
			missing, err := d.missing(r, t)
			begun = err == nil && len(missing) < len(t.partitions)
			return err
		})
		if begun || err != nil {
			return begun, err
		}
	}
	return false, nil
}

func (d *delivery) writeSeries(r *run, p *plan) error {
	s := &d.lane.series
	if len(p.undescribed) == 0 {
		return nil
	}
	if s.rows == nil {
		s.rows = newSeriesRows()
	}
	defer s.rows.reset()
	for _, at := range p.undescribed {
		err := d.insist("read request", func(context.Context) (err error) {
			s.entry, err = d.lane.log.wal.Read(at, s.entry[:0])
			return err
		})
		if err != nil {
			return err
		}
		if err := d.addSeries(r, s.entry); err != nil {
			return err
		}
	}
	return d.insertSeries(r)
}

// addSeries adds the series of the request whose entry is given.
func (d *delivery) addSeries(r *run, entry []byte) error {
	s := &d.lane.series
	h, err := parseHead(entry)
	if err != nil {
		return fmt.Errorf("BUG: a request that was planned is not understood: %w", err)
	}
	for _, t := range h.tables {
		if seriesKinds[t.table] == "" || r.tables != nil && !slices.Contains(r.tables, t.table) {
			continue
		}
		b, err := t.block(entry)
		if err == nil {
			err = s.rows.add(&s.reader, b, h, t, s.known)
		}
		if err != nil {
			d.lane.log.undescribable(t.table, err)
		}
		if s.rows.n >= seriesPerInsert {
			if err := d.insertSeries(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// insertSeries has ClickHouse take the rows that were added, however often it has to try, and knows them from then on. It returns a
// *refusedError if ClickHouse never will, which may have taken some of them all the same: a row is written twice as if once.
func (d *delivery) insertSeries(r *run) error {
	s := &d.lane.series
	if s.rows.n == 0 {
		return nil
	}
	block := s.rows.b.Encode(s.rows.n)
	body := block.AppendWhole(nil)
	d.timeout = d.lane.log.opt.Timeout
	settings := onePart(token(r) + "-series") // so that an INSERT that was left behind is seen by Quiet
	// Equal rows that were deleted meanwhile are to be written again. A run's points lie in 64 partitions of each table at most.
	settings["insert_deduplicate"], settings["max_partitions_per_insert_block"] = 0, 0
	settings["decompress"] = 1
	var refused error
	err := d.insist("insert series", func(context.Context) error {
		ctx, cancel := d.statement(settings, nil)
		defer cancel()
		start := time.Now()
		err := d.conn.InsertFormat(ctx, "Native", "INSERT INTO "+schema.MetricsSeries, bytes.NewReader(body))
		d.lane.log.metrics.inserted(schema.MetricsSeries, s.rows.n, time.Since(start), err)
		switch {
		case err == nil:
		case isRefusal(err):
			refused = &refusedError{err}
			return nil
		default:
			d.timeout = max(d.timeout, min(2*d.timeout, maxTimeout))
		}
		return err
	})
	if err = errors.Join(err, refused); err != nil {
		return err
	}
	d.lane.taken[schema.MetricsSeries]++
	s.known.addAll(s.rows.new)
	s.rows.reset()
	return nil
}
