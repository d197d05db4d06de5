package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/wal"
)

// ErrUnavailable reports that a request could not be made durable: the log is full, or the disk fails. The sender should
// try again later.
var ErrUnavailable = errors.New("the log takes nothing at the moment")

// ErrTooLarge reports that a request's rows are larger than a segment of the log. It will never be taken.
var ErrTooLarge = errors.New("the request's rows are too large for the log")

// MaxPartitions bounds how many partitions one INSERT touches, because each becomes a part on disk.
const MaxPartitions = 64

// Signals are what Request.Signal may be. Each has its own backlog and runs, so that what holds up one leaves the others
// alone.
var Signals = []string{"logs", "traces", "metrics", "profiles"}

// Ledger takes the receipts of runs, each run once.
type Ledger interface {
	// Apply adds receipts together with the run they are of, both or neither, and nothing if the run is there already.
	Apply(ctx context.Context, run uint64, receipts [][]byte) error
	// Applied tells which of runs are there.
	Applied(ctx context.Context, runs []uint64) (map[uint64]bool, error)
	// NewestRun returns the highest run that was applied or forgotten: every new run must be above.
	NewestRun(ctx context.Context) (uint64, error)
	// Forget says that runs below before are not asked about any more.
	Forget(ctx context.Context, before uint64) error
}

// LogOptions configures OpenLog. Dir, Ledger, Now and Registry are required; other zero fields take the defaults.
type LogOptions struct {
	Dir          string
	FS           faultfs.FS // of the log's segments; nil is the machine's
	Ledger       Ledger
	Restore      func(receipt []byte) error // called by OpenLog for each receipt that the ledger does not have yet
	Now          func() time.Time
	Logger       *slog.Logger // nil discards
	Registry     prometheus.Registerer
	MaxBytes     int64         // on disk, at least four segments; default 10 GiB
	ReserveBytes int64         // free space that requests leave on the disk, at least two segments; default 1 GiB, negative is none
	SegmentBytes int64         // and the largest request; default 128 MiB
	MaxDelay     time.Duration // requests wait at most this long for company; default 200 ms
	MaxRows      int           // a run is closed once it has so many rows; default 100,000
	Timeout      time.Duration // an INSERT is given up after this, at first; default 60 s
	Window       time.Duration // for Recall; 0 is never
	Backoff      time.Duration // after the first failure of a run, doubling; default 200 ms, at most 10 s
}

func (o *LogOptions) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.MaxDelay, 200*time.Millisecond)
	def(&o.Timeout, 60*time.Second)
	def(&o.Backoff, 200*time.Millisecond)
	if o.MaxRows == 0 {
		o.MaxRows = 100_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 10 << 30
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 128 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 1 << 30
	}
	if o.ReserveBytes > 0 {
		o.ReserveBytes = max(o.ReserveBytes, keptSegments*o.SegmentBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

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
}

// segment is what is known of a segment of the log that holds unfinished requests.
type segment struct {
	unfinished int   // requests
	appending  int   // appends that may yet land here
	oldest     int64 // the earliest receive time of its requests, in unix nanoseconds
}

// entryBytes is what a request counts at least toward the log's size, for the memory that knows of it.
const entryBytes = 1 << 10

// OpenLog opens the log in opt.Dir and finds out what is unfinished; it needs the ledger but not ClickHouse. Append works
// from then on; nothing leaves the log before Run.
func OpenLog(ctx context.Context, opt LogOptions) (*Log, error) {
	opt.setDefaults()
	l := &Log{opt: opt, log: opt.Logger, recent: newRecent(opt.Window, maxRecent, opt.Now), lanes: map[string]*lane{}, segments: map[uint32]*segment{}, recorded: map[uint64]position{},
		disk: disk{dir: opt.Dir}, salt: rand.Uint64N(1 << saltBits), replayed: map[string]entry{}}
	for _, s := range Signals {
		l.lanes[s] = newLane(l, s)
	}
	l.metrics = newLogMetrics(opt.Registry, l)
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
	l.segments[from].appending--
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
	s := l.segmentLocked(from)
	s.appending++
	s.oldest = min(s.oldest, received) // Oldest must know it before it is durable
	return from, nil
}

// turnLocked counts a refused request and says so in the log, once, until a request is taken again.
func (l *Log) turnLocked(err error) {
	switch {
	case err != nil:
		l.metrics.refused.Inc()
		if !l.refusing {
			l.log.Warn("requests are refused", "err", err)
		}
	case l.refusing:
		l.log.Info("requests are taken again")
	}
	l.refusing = err != nil
}

// keptSegments is how many segments' room of the reserve is for the records of runs.
const keptSegments = 2

// room returns an error if the log may take no more requests. It keeps a segment back, and some of the reserve on the disk,
// for the records of runs: without them nothing would ever leave a full log.
func (l *Log) room() error {
	if s := l.wal.Stats(); s.Bytes+l.opt.SegmentBytes > l.opt.MaxBytes {
		return fmt.Errorf("%w: it has %d bytes of %d", ErrUnavailable, s.Bytes, l.opt.MaxBytes)
	}
	if free, err := l.disk.free(l.opt.Now()); err != nil || free < l.opt.ReserveBytes {
		return fmt.Errorf("%w: %d bytes are free on its disk (%v), %d are reserved", ErrUnavailable, free, err, l.opt.ReserveBytes)
	}
	return nil
}

// shareLocked returns an error if tenant may add nothing to the log: its backlog is half of what the log can hold, so that
// an outage does not make one tenant's flood refuse the others, or there are more requests than memory is to know of.
func (l *Log) shareLocked(tenant string) error {
	var waiting int64
	for _, ln := range l.lanes {
		if t := ln.backlog.tenants[tenant]; t != nil {
			waiting += t.bytes
		}
	}
	if waiting > l.opt.MaxBytes/2 {
		return fmt.Errorf("%w: %d bytes of this tenant wait", ErrUnavailable, waiting)
	}
	if int64(l.entries)*entryBytes >= l.opt.MaxBytes {
		return fmt.Errorf("%w: %d requests wait", ErrUnavailable, l.entries)
	}
	return nil
}

func (l *Log) segmentLocked(n uint32) *segment {
	s := l.segments[n]
	if s == nil {
		s = &segment{oldest: math.MaxInt64}
		l.segments[n] = s
	}
	return s
}

// addLocked counts an unfinished request.
func (l *Log) addLocked(at position, received int64) {
	s := l.segmentLocked(at.Segment())
	s.unfinished++
	s.oldest = min(s.oldest, received)
	l.entries++
}

// finish forgets the requests of a run that ClickHouse and the ledger have, and gives back the room of segments that hold
// nothing unfinished any more.
func (l *Log) finish(ctx context.Context, r *run, sizes map[string]int64) {
	l.mu.Lock()
	for _, p := range r.entries {
		l.segments[p.Segment()].unfinished--
		l.entries--
	}
	for tenant, n := range sizes {
		l.lanes[r.signal].backlog.finished(tenant, n)
	}
	before := l.oldestLocked()
	advance := before > l.clean
	l.mu.Unlock()
	if advance {
		l.checkpoint(ctx, before)
	}
}

// giveUp forgets a request that cannot be read any more, because the disk has damaged it. The log keeps its segment's file.
func (l *Log) giveUp(at position, cause error) {
	l.metrics.damaged.Inc()
	l.log.Error("an acked request is damaged on disk and lost", "position", at.String(), "err", cause)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments[at.Segment()].unfinished--
	l.entries--
}

// oldestLocked returns the first segment that is still needed, and forgets those that are not.
func (l *Log) oldestLocked() uint32 {
	oldest := l.tail
	for n, s := range l.segments {
		if s.unfinished > 0 || s.appending > 0 {
			oldest = min(oldest, n)
		} else {
			delete(l.segments, n)
		}
	}
	return oldest
}

// checkpoint deletes the segments below before. What they know of runs is known of the ledger's by then: a run is recorded
// behind all its requests, so none of those below is unfinished.
func (l *Log) checkpoint(ctx context.Context, before uint32) {
	if err := l.recent.save(l.opt.Dir); err != nil {
		l.log.Warn("recent requests were not saved", "err", err)
	}
	if err := l.wal.DeleteBefore(position(before) << 32); err != nil {
		l.log.Warn("finished log segments were not deleted", "err", err)
		return
	}
	l.mu.Lock()
	l.clean = max(l.clean, before)
	forget := l.lastRun + 1
	for id, at := range l.recorded {
		if at.Segment() < before {
			delete(l.recorded, id)
		} else {
			forget = min(forget, id)
		}
	}
	stale := forget > l.forgotten
	l.mu.Unlock()
	if !stale {
		return
	}
	if err := l.opt.Ledger.Forget(ctx, forget); err != nil {
		l.log.Warn("finished runs were not forgotten", "err", err)
		return
	}
	l.mu.Lock()
	l.forgotten = max(l.forgotten, forget)
	l.mu.Unlock()
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

// record makes runs durable, before anything of them is sent.
func (l *Log) record(runs ...*run) error {
	at, err := l.wal.Append(appendRuns(nil, runs...))
	if err != nil {
		return fmt.Errorf("record run: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range runs {
		l.recorded[r.id] = at
	}
	return nil
}

// WaitTenant waits until nothing of a tenant is unfinished: before its rows are deleted, say. Its ingest must have stopped.
func (l *Log) WaitTenant(ctx context.Context, id tenant.ID) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for l.waits(id) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the requests of tenant %s to reach ClickHouse: %w", id, ctx.Err())
		}
	}
	return nil
}

func (l *Log) waits(id tenant.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.lanes {
		if ln.backlog.tenants[id.String()] != nil {
			return true
		}
	}
	return false
}

// Oldest returns the receive time of the oldest request whose receipt is not in the ledger yet.
func (l *Log) Oldest() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := int64(math.MaxInt64)
	for _, s := range l.segments {
		if s.unfinished > 0 || s.appending > 0 {
			oldest = min(oldest, s.oldest)
		}
	}
	return time.Unix(0, oldest), oldest != math.MaxInt64
}

// newRunID returns an id that no other run has: milliseconds since 1970 in the upper 42 bits, and in the lower 22 a number
// that this process has drawn, so that neither another log nor a clock that was set back meets it. Ids grow.
func (l *Log) newRunID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ms := max(uint64(l.opt.Now().UnixMilli()), l.lastRun>>saltBits+1)
	l.lastRun = ms<<saltBits | l.salt
	l.recorded[l.lastRun] = math.MaxUint64 // nowhere yet, and not to be forgotten
	return l.lastRun
}

const saltBits = 22
