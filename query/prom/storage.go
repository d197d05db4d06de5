package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
)

// Limits bound what one request may load. They are the operator's. A zero field means the default.
type Limits struct {
	MaxSeries  int // that one selector selects, 100,000
	MaxSamples int // that one request loads, and that its evaluation holds at a time, 10,000,000
	MaxHeld    int // that all requests together hold of what they loaded, 40,000,000; one takes 32 bytes
}

func (l Limits) withDefaults() Limits {
	if l.MaxSeries == 0 {
		l.MaxSeries = 100_000
	}
	if l.MaxSamples == 0 {
		l.MaxSamples = 10_000_000
	}
	if l.MaxHeld == 0 {
		l.MaxHeld = 40_000_000
	}
	return l
}

// Storage is what PromQL sees of the metrics of one scope during one request. It implements storage.Queryable. It counts
// what is loaded against the request's limits. It is for one goroutine.
type Storage struct {
	reader *query.Reader
	scope  tenant.Scope
	limits Limits
	names  *namer
	starts bool          // read start times of numbers too
	reach  time.Duration // of a selection without a range; 0 if it is not known which samples do not matter
	// zeroThreshold is that of native histograms whose point has none.
	zeroThreshold float64

	families map[[2]int64]map[metric]string // of the metrics of so many days, first and last, once read

	samples int           // loaded so far
	held    *atomic.Int64 // by all requests of the process; may be nil
}

// NewStorage returns the storage of a request. strategy says how names are translated.
func NewStorage(r *query.Reader, scope tenant.Scope, strategy otlptranslator.TranslationStrategyOption, limits Limits) *Storage {
	return &Storage{
		reader: r, scope: scope, limits: limits.withDefaults(), names: newNamer(strategy), zeroThreshold: defaultZeroThreshold,
		families: map[[2]int64]map[metric]string{},
	}
}

// Querier implements storage.Queryable.
func (s *Storage) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{Storage: s, mint: mint, maxt: maxt}, nil
}

// several reports whether tenants have to be told apart.
func (s *Storage) several() bool { return len(s.scope.Strings()) > 1 }

// load counts n samples, or fails if there are too many. What a sample is worth, Prometheus says for its own: a number is
// one, a native histogram one per two buckets and four more.
func (s *Storage) load(n int) error {
	s.samples += n
	if s.held != nil && s.held.Add(int64(n)) > int64(s.limits.MaxHeld) {
		return errFull
	}
	if s.samples > s.limits.MaxSamples {
		return promql.ErrTooManySamples("reading series")
	}
	return nil
}

// errFull says that the requests that run hold all that they may.
var errFull = errors.New("too many samples held by queries")

// rows runs a statement and calls one for each row, which reads all of it.
func (s *Storage) rows(ctx context.Context, st query.Stmt, one func(*binaryReader) error) error {
	res, err := s.reader.Run(ctx, st, query.Binary)
	if err != nil {
		return err
	}
	defer res.Close()
	b := newBinaryReader(res)
	for b.more() {
		if err := one(b); err != nil {
			return err
		}
	}
	return ended(res, b.err)
}

// ended says how the reading of a result ended, which one that was cut off does not.
func ended(res *query.Result, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("result of request %s: %w", res.ID(), err)
	}
	return err
}

// The milliseconds of which the tables can have points.
var (
	firstMilli = int64(0)
	lastMilli  = time.Date(2261, 12, 31, 0, 0, 0, 0, time.UTC).UnixMilli()
)

// span is the half-open range of times for the milliseconds from mint to maxt, both in. ok is false if nothing can be in
// it.
func span(mint, maxt int64) (start, end time.Time, ok bool) {
	if maxt < firstMilli || mint > lastMilli || mint > maxt {
		return start, end, false
	}
	mint, maxt = max(mint, firstMilli), min(maxt, lastMilli)
	return time.UnixMilli(mint).UTC(), time.UnixMilli(maxt + 1).UTC(), true
}

// inMilli is the millisecond that a nanosecond belongs to.
func inMilli(nanos int64) int64 {
	if nanos < 0 {
		return int64(math.Floor(float64(nanos) / 1e6))
	}
	return nanos / 1e6
}

// batches calls f with pieces of list that a statement takes.
func batches(list []uint64, f func([]uint64) error) error {
	for piece := range slices.Chunk(list, query.MaxIDs) {
		if err := f(piece); err != nil {
			return err
		}
	}
	return nil
}
