package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/engine"
)

// outage measures an outage of ClickHouse: the engine is frozen until the log has grown by the backlog, and goes on then.
// It prints how fast the log drains, beside the same rows inserted without headgate, and how fresh the data of another
// tenant is meanwhile.
func outage(ctx context.Context, o options, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "headgate-outage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ch, stop, err := ownEngine(ctx, o.binary, filepath.Join(dir, "clickhouse"))
	if err != nil {
		return err
	}
	defer stop()
	opt := ch.WriterOptions()
	srv, err := start(ctx, o.binary, dir, "--clickhouse", fmt.Sprintf("http://%s:%s@%s/%s", opt.Auth.Username, opt.Auth.Password, ch.Addr(), storage.DefaultDatabase))
	if err != nil {
		return err
	}
	defer srv.stop()
	opt.Auth.Database = storage.DefaultDatabase
	conn, err := storage.Open(opt)
	if err != nil {
		return err
	}
	defer conn.Close()
	d := &drill{srv: srv, engine: ch.PID(), conn: conn}
	return d.run(ctx, o, out)
}

// ownEngine starts an engine that headgate takes for a server somewhere.
func ownEngine(ctx context.Context, binary, dir string) (_ *engine.Supervisor, stop func(), err error) {
	library, err := engine.FindLibrary("")
	if err != nil {
		return nil, nil, err
	}
	s, err := engine.NewSupervisor(engine.Options{DataDir: dir, Library: library, Command: []string{binary, "engine"}}, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = func() {
		_ = syscall.Kill(s.PID(), syscall.SIGCONT) // else it could not stop
		cancel()
		<-ended
	}
	select {
	case <-s.Ready():
		return s, stop, nil
	case err := <-ended:
		cancel()
		return nil, nil, errors.Join(errors.New("engine did not start"), err)
	}
}

// drill is one outage.
type drill struct {
	srv    *server
	engine int // process id
	conn   driver.Conn
}

// spell is a stretch of time with what was done in it.
type spell struct {
	name            string
	rows            int64
	took            time.Duration
	gateway, engine time.Duration // CPU
}

func (d *drill) measure(name string, f func() (rows int64, err error)) (spell, error) {
	gateway, eng, begin := cpu(d.srv.pid), cpu(d.engine), time.Now()
	rows, err := f()
	return spell{name, rows, time.Since(begin), cpu(d.srv.pid) - gateway, cpu(d.engine) - eng}, err
}

func (d *drill) run(ctx context.Context, o options, out io.Writer) error {
	bulk, err := newClient(ctx, d.srv.otlp, d.srv.key, signals[0], o.records)
	if err != nil {
		return err
	}
	defer bulk.close()
	p, err := newProbe(ctx, d.srv)
	if err != nil {
		return err
	}
	defer p.client.close()
	quietly, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	quiet, err := p.watch(quietly, time.Minute)
	if err != nil {
		return err
	}
	filled, size, err := d.fill(ctx, bulk, o.backlog<<20)
	if err != nil {
		return err
	}
	drained, busy, err := d.drain(ctx, p, filled.rows)
	if err != nil {
		return err
	}
	stored, err := d.srv.logs(ctx, d.srv.key)
	if err != nil {
		return err
	}
	if stored != filled.rows {
		return fmt.Errorf("%d records were acked, %d are there", filled.rows, stored)
	}
	settle(d.engine)
	direct, inserts, err := d.direct(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "an outage: %d MiB of log, %d requests of %d records; every record is there once\n", size>>20, filled.rows/int64(o.records), o.records)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\trows\tseconds\trows/s\tgateway CPU s/M\tengine CPU s/M\t\n")
	for _, s := range []spell{filled, drained, direct} {
		million := float64(s.rows) / 1e6
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.0f\t%.2f\t%.2f\t\n", s.name, s.rows, s.took.Seconds(), float64(s.rows)/s.took.Seconds(), s.gateway.Seconds()/million, s.engine.Seconds()/million)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "direct: %.0f rows in each INSERT. Gateway peak RSS %d MiB.\n", float64(direct.rows)/float64(inserts), peakRSS(d.srv.pid)>>20)
	fmt.Fprintf(out, "from ack to query, another tenant with a request of %d records every %v:\n", probeRecords, probeEvery)
	for _, f := range []struct {
		name string
		took []time.Duration
	}{{"before", quiet}, {"during the drain", busy}} {
		fmt.Fprintf(out, "  %-17s p50 %.0f ms, p99 %.0f ms, max %.0f ms of %d\n", f.name, millis(quantile(f.took, .5)), millis(quantile(f.took, .99)), millis(quantile(f.took, 1)), len(f.took))
	}
	return nil
}

// fill freezes the engine and sends until the log has grown by so many bytes, in steps of a segment.
func (d *drill) fill(ctx context.Context, c *client, most int64) (spell, int64, error) {
	if err := syscall.Kill(d.engine, syscall.SIGSTOP); err != nil {
		return spell{}, 0, err
	}
	before := logBytes(d.srv.data)
	var size atomic.Int64
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for ; watching.Err() == nil; time.Sleep(50 * time.Millisecond) {
			size.Store(logBytes(d.srv.data) - before)
		}
	}()
	s, err := d.measure("acked, engine frozen", func() (int64, error) {
		got, err := c.run(16, 0, func() bool { return size.Load() < most })
		return got.records, err
	})
	return s, size.Load(), err
}

// drain lets the engine go on, and returns when everything is there but the newest requests of the probe.
func (d *drill) drain(ctx context.Context, p *probe, rows int64) (spell, []time.Duration, error) {
	if err := syscall.Kill(d.engine, syscall.SIGCONT); err != nil {
		return spell{}, nil, err
	}
	draining, drained := context.WithCancel(ctx)
	type seen struct {
		fresh []time.Duration
		err   error
	}
	watched := make(chan seen, 1)
	go func() {
		fresh, err := p.watch(draining, time.Minute)
		watched <- seen{fresh, err}
	}()
	s, err := d.measure("drained", func() (int64, error) {
		return rows, d.srv.stored(ctx, float64(time.Second/probeEvery))
	})
	drained()
	got := <-watched
	return s, got.fresh, errors.Join(err, got.err)
}

// direct inserts rows of the runs that headgate has made, as many to an INSERT, into a table of their own, and returns how
// many INSERTs that took. The time of reading them is not counted.
func (d *drill) direct(ctx context.Context) (spell, int, error) {
	const table = "directly"
	if err := d.conn.Exec(ctx, "CREATE TABLE "+table+" AS otel_logs"); err != nil {
		return spell{}, 0, err
	}
	var runs []uint64
	if err := d.conn.QueryRow(ctx, "SELECT groupArray(RunId) FROM (SELECT RunId FROM otel_logs GROUP BY RunId HAVING count() >= 50000 LIMIT 10)").Scan(&runs); err != nil {
		return spell{}, 0, err
	}
	total := spell{name: "inserted directly"}
	insert := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert": 0, "min_insert_block_size_rows": 16 << 20, "min_insert_block_size_bytes": 1 << 30, "max_insert_threads": 1,
	}))
	for _, run := range runs {
		// In the order of their time they are about as they came.
		from, err := d.conn.QueryFormat(ctx, "Native", fmt.Sprintf("SELECT * FROM otel_logs WHERE RunId = %d ORDER BY Timestamp", run))
		if err != nil {
			return spell{}, 0, err
		}
		rows, err := io.ReadAll(from)
		if err = errors.Join(err, from.Close()); err != nil {
			return spell{}, 0, err
		}
		s, err := d.measure("", func() (int64, error) {
			return 0, d.conn.InsertFormat(insert, "Native", "INSERT INTO "+table, bytes.NewReader(rows))
		})
		if err != nil {
			return spell{}, 0, err
		}
		total.took, total.gateway, total.engine = total.took+s.took, total.gateway+s.gateway, total.engine+s.engine
	}
	var n uint64
	if err := d.conn.QueryRow(ctx, "SELECT count() FROM "+table).Scan(&n); err != nil {
		return spell{}, 0, err
	}
	total.rows = int64(n)
	return total, len(runs), nil
}
