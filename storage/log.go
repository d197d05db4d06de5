package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage/wal"
)

// Log makes requests durable and takes them to ClickHouse and the ledger, each exactly once, in runs.
type Log struct {
	opt     LogOptions
	log     *slog.Logger
	wal     *wal.Log
	metrics *logMetrics
	lanes   map[string]*lane // by signal, fixed
	recent  *recent
	disk    disk

	mu        sync.Mutex // guards the fields below and the lanes' backlogs
	segments  map[uint32]*segment
	lastRun   uint64
	recorded  map[uint64]position // runs whose record is in the log, and where
	forgotten uint64              // runs below are unknown to the ledger
	entries   int                 // unfinished
	refusing  bool
	tail      uint32 // the newest segment that is known: no append lands below
	clean     uint32 // segments below are deleted

	salt     uint64           // lower bits of this process's run ids
	replayed map[string]entry // replays whose files are still there; of Run alone

	purge purge
}

// OpenLog opens the log in opt.Dir and finds out what is unfinished; it needs the ledger but not ClickHouse. Append works
// from then on; nothing leaves the log before Run.
func OpenLog(ctx context.Context, opt LogOptions) (*Log, error) {
	opt.setDefaults()
	l := &Log{opt: opt, log: opt.Logger, recent: newRecent(opt.Window, maxRecent, opt.Now), lanes: map[string]*lane{}, segments: map[uint32]*segment{}, recorded: map[uint64]position{},
		disk: disk{dir: opt.Dir}, salt: rand.Uint64N(1 << saltBits), replayed: map[string]entry{}}
	for _, s := range Signals {
		l.lanes[s] = newLane(l, s)
	}
	l.metrics = newLogMetrics(opt.Registry)
	w, err := wal.Open(opt.Dir, wal.Options{
		FS: opt.FS, SegmentBytes: opt.SegmentBytes, MaxBytes: opt.MaxBytes, ReserveBytes: cmp.Or(max(opt.ReserveBytes-keptSegments*opt.SegmentBytes, 0), -1), Logger: opt.Logger,
		Now: opt.Now, OnSync: l.metrics.synced,
	})
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l.wal, l.tail = w, w.Stats().End.Segment()
	if err := l.recover(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("recover log: %w", err), w.Close())
	}
	// What was acked and cannot be read; some of it may have been stored before, which nobody can tell any more.
	l.metrics.damaged.Add(float64(w.Stats().Lost))
	showLog(opt.Registry, l)
	return l, nil
}

// Close ends the log. Run must have returned; Appends under way fail.
func (l *Log) Close() error { return l.wal.Close() }

// Append returns nil once r is durable: from then on its rows and its receipt reach ClickHouse and the ledger exactly once.
// ErrUnavailable and ErrTooLarge say that it is not, and will not be.
func (l *Log) Append(r Request) error {
	blocks := make([][]byte, 1, 1+len(r.Rows)) // room for the head
	for _, t := range r.Rows {
		blocks = append(blocks, t.Block.Data)
	}
	e, err := l.append(headOf(r), blocks)
	if err != nil {
		return err
	}
	l.show(e)
	return nil
}

// entry is a request in the log that is in no backlog yet.
type entry struct {
	pending
	lane   *lane
	tenant string
	rows   int
}

// append makes a request durable. parts[1:] are its blocks; parts[0] is for the head.
func (l *Log) append(h head, parts [][]byte) (entry, error) {
	e := entry{lane: l.lanes[h.signal], tenant: h.tenant, rows: h.rows()}
	if e.lane == nil {
		return entry{}, fmt.Errorf("BUG: append request of unknown signal %q", h.signal)
	}
	buf := headBuffers.Get().(*[]byte)
	defer headBuffers.Put(buf)
	*buf = h.appendTo((*buf)[:0])
	parts[0] = *buf
	for _, p := range parts {
		e.size += uint32(len(p))
	}
	from, err := l.beginAppend(e.tenant, h.received)
	if err != nil {
		return entry{}, err
	}
	e.at, err = l.wal.Append(parts...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments[from].end(h.received)
	if errors.Is(err, wal.ErrTooLarge) {
		return entry{}, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err != nil {
		l.turnLocked(err)
		return entry{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.tail = max(l.tail, e.at.Segment())
	l.addLocked(e.at, h.received)
	return e, nil
}

var headBuffers = sync.Pool{New: func() any { return new([]byte) }}

// show puts an entry into its backlog.
func (l *Log) show(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.lane.pushLocked(e.tenant, e.pending, e.rows)
}

// maxRecent bounds the requests that are remembered within one window, for about 100 bytes each.
const maxRecent = 1 << 18

// Recall tells whether the request of fingerprint f was acked already, within the window: known, and how many of its records
// were rejected. If not, the caller goes on with it and calls done when it knows the outcome; an equal request waits
// meanwhile, at most until its ctx ends. The zero fingerprint is never known.
func (l *Log) Recall(ctx context.Context, f Fingerprint) (rejected int64, known bool, done func(acked bool, rejected int64), err error) {
	if f == (Fingerprint{}) || l.opt.Window == 0 {
		return 0, false, func(bool, int64) {}, nil
	}
	return l.recent.recall(ctx, f)
}

// Window returns LogOptions.Window.
func (l *Log) Window() time.Duration { return l.opt.Window }

// beginAppend keeps the newest segment, and with it all later ones, until the append is known of.
func (l *Log) beginAppend(tenant string, received int64) (uint32, error) {
	err := l.room()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		err = l.shareLocked(tenant)
	}
	l.turnLocked(err)
	if err != nil {
		return 0, err
	}
	from := l.tail
	l.segmentLocked(from).begin(received) // Oldest must know it before it is durable
	return from, nil
}

// Run takes requests to ClickHouse and the ledger until ctx ends; then what is left, for as long as grace and no failure
// allow. What remains after that waits in the log for the next start.
func (l *Log) Run(ctx context.Context, conn driver.Conn, grace time.Duration) error {
	patient := ctx
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	context.AfterFunc(patient, func() { time.AfterFunc(grace, cancel) })
	if err := dropStages(ctx, conn); err != nil {
		l.log.Warn("leftovers of an earlier repair were not removed", "err", err)
	}
	var running sync.WaitGroup
	for _, ln := range l.lanes {
		running.Go(func() { ln.run(ctx, patient, conn) })
	}
	running.Go(func() { l.watchReplays(patient) })
	running.Wait()
	return nil
}

// replayInterval is how often a replay that was asked for is looked for.
const replayInterval = time.Second

func (l *Log) watchReplays(ctx context.Context) {
	tick := time.NewTicker(replayInterval)
	defer tick.Stop()
	for {
		if err := l.purgeAside(); err != nil {
			l.log.Warn("rejected requests of a deleted tenant are not removed", "err", err)
		}
		if err := l.replayAll(); err != nil {
			l.log.Warn("replay failed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
