package storage

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// ErrUnavailable reports that a request could not be made durable: the log is full, or the disk fails. The sender should
// try again later.
var ErrUnavailable = errors.New("the log takes nothing at the moment")

// ErrTooLarge reports that a request's rows are larger than a segment of the log. It will never be taken.
var ErrTooLarge = errors.New("the request's rows are too large for the log")

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
	Gone         func(tenant string) bool   // whether a tenant is being deleted or is deleted: its rows are dropped; nil: none is
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
