package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// ErrUnavailable reports that rows were not committed, or that it is not known whether they were: ClickHouse is away,
// too slow, or more is waiting than memory may hold. The sender should try again later.
var ErrUnavailable = errors.New("clickhouse does not take rows at the moment")

// MaxPartitions bounds how many partitions one INSERT touches, because each becomes a part on disk.
const MaxPartitions = 64

// Rows are rows of one table and one placement. The block's bytes belong to the Writer from Write on.
type Rows struct {
	Table     string   // one of schema.Tables
	Partition string   // value of the column Partition in every row
	Days      []uint16 // distinct days since 1970-01-01 UTC of the rows' partitioning time; at most MaxPartitions
	Block     native.Block
}

// WriterOptions bounds a Writer. Zero fields take the defaults.
type WriterOptions struct {
	MaxDelay        time.Duration // rows wait at most this long for company; default 200 ms
	MaxRows         int           // an INSERT is sent once it has so many rows; default 100,000
	MaxPendingBytes int64         // encoded, compressed bytes waiting or in flight; default 256 MiB
	QueueTimeout    time.Duration // rows not sent by then are taken back; default 4 s, below the collector's 5 s
	InsertTimeout   time.Duration // an INSERT is given up after this; default 30 s
}

func (o WriterOptions) withDefaults() WriterOptions {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.MaxDelay, 200*time.Millisecond)
	def(&o.QueueTimeout, 4*time.Second)
	def(&o.InsertTimeout, 30*time.Second)
	if o.MaxRows == 0 {
		o.MaxRows = 100_000
	}
	if o.MaxPendingBytes == 0 {
		o.MaxPendingBytes = 256 << 20
	}
	return o
}

// Writer gathers rows of many requests and inserts them, one INSERT at a time per table: while one is under way the
// next gathers, so that runs grow with the load.
type Writer struct {
	conn    driver.Conn
	opt     WriterOptions
	log     *slog.Logger
	metrics *writerMetrics
	queues  map[string]*queue // by table, fixed
	runID   atomic.Uint64
	pending atomic.Int64 // bytes
}

// NewWriter makes a Writer on conn. Nothing is sent before Run.
func NewWriter(conn driver.Conn, opt WriterOptions, log *slog.Logger, reg prometheus.Registerer) *Writer {
	w := &Writer{conn: conn, opt: opt.withDefaults(), log: log, queues: map[string]*queue{}}
	w.metrics = newWriterMetrics(reg, func() float64 { return float64(w.pending.Load()) })
	// Run ids only have to differ from one another on one table; time keeps them apart across restarts.
	w.runID.Store(uint64(time.Now().UnixNano()))
	for _, table := range schema.Tables {
		w.queues[table] = newQueue(w.opt)
	}
	return w
}

// Write queues rows and returns once every one of them is committed (nil) or not all of them are (ErrUnavailable, or an
// error of ctx). When ctx ends or the queue timeout passes, rows that were not sent yet are taken back; those under way
// are waited for, so that an error is rarely followed by the rows appearing after all.
func (w *Writer) Write(ctx context.Context, rows []Rows) error {
	entries := make([]*entry, 0, len(rows))
	var size int64
	for _, r := range rows {
		if w.queues[r.Table] == nil {
			return fmt.Errorf("BUG: write rows of unknown table %q", r.Table)
		}
		size += int64(len(r.Block.Data))
		entries = append(entries, &entry{rows: r, done: make(chan error, 1)})
	}
	if w.pending.Add(size) > w.opt.MaxPendingBytes {
		w.pending.Add(-size)
		w.metrics.refused.Inc()
		return fmt.Errorf("%w: more than %d bytes are waiting", ErrUnavailable, w.opt.MaxPendingBytes)
	}
	defer w.pending.Add(-size)
	for _, e := range entries {
		w.queues[e.rows.Table].push(e)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.opt.QueueTimeout, fmt.Errorf("%w: no INSERT within %s", ErrUnavailable, w.opt.QueueTimeout))
	defer cancel()
	var errs error
	for _, e := range entries {
		errs = errors.Join(errs, e.wait(ctx))
	}
	return errs
}

// Run sends what Write queues until ctx ends, then what is still queued, and returns. Writes must have stopped by then:
// a Write after Run has returned fails by its queue timeout.
func (w *Writer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for table, q := range w.queues {
		wg.Go(func() {
			for {
				run := q.next(ctx)
				if len(run) == 0 {
					return
				}
				w.send(ctx, table, run)
			}
		})
	}
	wg.Wait()
	return nil
}

// send inserts one run and tells the waiting writes. The INSERT outlives ctx, so that a shutdown does not make the
// outcome of a run unknown.
func (w *Writer) send(ctx context.Context, table string, run []*entry) {
	id := w.runID.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.opt.InsertTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert":                    0,
		"decompress":                      1, // blocks come in frames
		"insert_deduplication_token":      strconv.FormatUint(id, 10),
		"max_partitions_per_insert_block": MaxPartitions,
	}))
	start := time.Now()
	err := w.conn.InsertFormat(ctx, "Native", "INSERT INTO "+table, &runReader{run: run, id: id})
	rows := 0
	for _, e := range run {
		rows += e.rows.Block.Rows
	}
	w.metrics.observe(table, rows, time.Since(start), err)
	if err != nil {
		w.log.Warn("insert failed", "table", table, "rows", rows, "requests", len(run), "run_id", id, "err", err)
		err = fmt.Errorf("%w: insert of %d rows into %s", ErrUnavailable, rows, table)
	}
	for _, e := range run {
		e.done <- err
	}
}

// runReader is the body of a run's INSERT: its blocks in Native form and frames, one after another, each completed when it
// is its turn.
//
// SECURITY: after a failed INSERT the HTTP transport may go on reading it for a while, so that neither its buffer nor a
// block may be used again.
type runReader struct {
	run []*entry
	id  uint64
	buf []byte // reused; the encoded block
	pos int    // read up to here
}

func (r *runReader) Read(p []byte) (int, error) {
	for r.pos == len(r.buf) {
		if len(r.run) == 0 {
			return 0, io.EOF
		}
		r.buf, r.pos = r.run[0].rows.Block.AppendTo(r.buf[:0], r.id), 0
		r.run = r.run[1:]
	}
	n := copy(p, r.buf[r.pos:])
	r.pos += n
	return n, nil
}
