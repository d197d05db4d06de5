package prom

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/headgate-io/headgate/internal/chtest"
)

var noTranslation = otlptranslator.NoTranslation

// testStorage is one tenant of a database, as the scripts of Prometheus need it: they append samples and query them. It
// writes a sample as the data point that it could have come from.
//
// A selector is read once, for all times, unless HEADGATE_TEST_UPSTREAM is "full": then each query reads what it needs.
type testStorage struct {
	*database
	tenant string
	full   bool
	read   map[string][]storage.Series
	lost   map[string]bool // why series were not written
}

func (s *testStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	st := NewStorage(s.reader, chtest.Scope(s.t, s.tenant), noTranslation, Limits{})
	st.starts, st.zeroThreshold = true, 0
	if s.full {
		return st.Querier(mint, maxt)
	}
	q, err := st.Querier(0, time.Unix(1e9, 0).UnixMilli())
	return &onceQuerier{q, s}, err
}

type onceQuerier struct {
	storage.Querier
	s *testStorage
}

func (q *onceQuerier) Select(ctx context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	key := fmt.Sprint(matchers)
	list, ok := q.s.read[key]
	if !ok {
		set := q.Querier.Select(ctx, sorted, nil, matchers...)
		for set.Next() {
			list = append(list, set.At())
		}
		if set.Err() != nil {
			return set
		}
		q.s.read[key] = list
	}
	return &listSet{list: list}
}

// listSet is series that were read before.
type listSet struct {
	list []storage.Series
	at   int
}

func (s *listSet) Next() bool                      { s.at++; return s.at <= len(s.list) }
func (s *listSet) At() storage.Series              { return s.list[s.at-1] }
func (*listSet) Err() error                        { return nil }
func (*listSet) Warnings() annotations.Annotations { return nil }

func (*testStorage) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errors.New("not used")
}
func (*testStorage) Appender(context.Context) storage.Appender       { panic("not used") }
func (*testStorage) StartTime() (int64, error)                       { return 0, nil }
func (*testStorage) Close() error                                    { return nil }
func (s *testStorage) AppenderV2(context.Context) storage.AppenderV2 { return &appender{s: s} }

type appender struct {
	s    *testStorage
	rows []sent
}

func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	p := sent{resource: resource{tenant: a.s.tenant}, attributes: ls.Map(), nanos: t * 1e6, start: st * 1e6, value: v}
	p.name, p.kind = ls.Get(model.MetricNameLabel), kindGauge
	delete(p.attributes, model.MetricNameLabel)
	p.absent = value.IsStaleNaN(v)
	if h != nil {
		fh = h.ToFloat(nil)
	}
	if fh != nil {
		p.kind = kindExpHistogram
		if why := p.histogram(fh); why != "" {
			a.s.lost[why] = true
			return 1, nil
		}
	}
	a.rows = append(a.rows, p)
	return 1, nil
}

// histogram makes the point that h could have come from, or returns why there is none.
func (p *sent) histogram(h *histogram.FloatHistogram) string {
	p.absent = value.IsStaleNaN(h.Sum)
	switch {
	case p.absent:
		return ""
	case h.UsesCustomBuckets():
		return "custom buckets"
	case h.CounterResetHint == histogram.GaugeType:
		return "gauge histograms"
	}
	why := ""
	whole := func(f float64) uint64 {
		if f != math.Trunc(f) || f < 0 || f >= 1<<53 {
			why = "counts that are no whole numbers"
			return 0
		}
		return uint64(f)
	}
	p.count, p.sum = whole(h.Count), h.Sum
	p.exp = expPoint{scale: h.Schema, zeroCount: whole(h.ZeroCount), threshold: h.ZeroThreshold}
	dense := func(spans []histogram.Span, counts []float64) expBuckets {
		var e expBuckets
		index, at := int32(0), 0
		for i, s := range spans {
			index += s.Offset
			if i == 0 {
				e.offset = index - 1
			} else {
				e.counts = append(e.counts, make([]uint64, s.Offset)...)
			}
			for range s.Length {
				e.counts = append(e.counts, whole(counts[at]))
				at++
				index++
			}
		}
		return e
	}
	p.exp.positive = dense(h.PositiveSpans, h.PositiveBuckets)
	p.exp.negative = dense(h.NegativeSpans, h.NegativeBuckets)
	return why
}

func (a *appender) Commit() error {
	if len(a.rows) > 0 {
		a.s.send(a.rows...)
	}
	a.rows, a.s.read = nil, map[string][]storage.Series{}
	return nil
}

func (a *appender) Rollback() error {
	a.rows = nil
	return nil
}

var commandRe = regexp.MustCompile(`^(load|eval|clear)`)

// command is one command of a script, with all of its lines.
type command struct {
	line int // from 1
	text string
}

func (c command) is(kind string) bool { return strings.HasPrefix(c.text, kind) }

func commands(script string) []command {
	var out []command
	for i, line := range strings.Split(script, "\n") {
		switch {
		case commandRe.MatchString(line):
			out = append(out, command{i + 1, line + "\n"})
		case strings.HasPrefix(strings.TrimSpace(line), "#") || len(out) == 0:
		default:
			out[len(out)-1].text += line + "\n"
		}
	}
	return out
}

// scripts returns the directory of the scripts that Prometheus tests its engine with.
func scripts(t testing.TB) string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/prometheus/prometheus").Output()
	if err != nil {
		t.Fatalf("find the module of Prometheus: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "promql", "promqltest", "testdata")
}

// inexpressible names the evaluations, as file:line, whose samples or answers OpenTelemetry's data points cannot express.
//
//go:embed testdata/inexpressible.txt
var inexpressible string

// inexpressibleEnv makes TestAnswersAreThoseOfPrometheus run just those evaluations.
const inexpressibleEnv = "HEADGATE_TEST_INEXPRESSIBLE"

// listed returns the evaluations of the list, each with its reason.
func listed(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(inexpressible), "\n") {
		at, reason, ok := strings.Cut(line, " ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !ok || out[at] != "" {
			t.Fatalf("list of what cannot be expressed: %q", line)
		}
		out[at] = reason
	}
	return out
}

// TestAnswersAreThoseOfPrometheus runs the scripts that Prometheus tests its engine with on our storage: samples are written
// as rows of the telemetry tables and read back. What OpenTelemetry cannot express is listed with the reason.
func TestAnswersAreThoseOfPrometheus(t *testing.T) {
	d := newDatabase(t)
	files, err := filepath.Glob(filepath.Join(scripts(t), "*.test"))
	if err != nil || len(files) < 20 {
		t.Fatalf("scripts %v, %v", files, err)
	}
	list := listed(t)
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d.script(t, fmt.Sprint("t", i), string(text), func(line int) bool {
				_, ok := list[fmt.Sprint(filepath.Base(file), ":", line)]
				return ok == (os.Getenv(inexpressibleEnv) != "")
			})
		})
	}
}

// script runs those evaluations of a script that are wanted, each by itself.
func (d *database) script(t *testing.T, tenant, text string, wanted func(line int) bool) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	next := func(n int) *testStorage {
		return &testStorage{
			database: d, tenant: fmt.Sprint(tenant, "-", n), read: map[string][]storage.Series{}, lost: map[string]bool{},
			// info() asks for what was there within its hints.
			full: os.Getenv("HEADGATE_TEST_UPSTREAM") == "full" || strings.Contains(t.Name(), "info.test"),
		}
	}
	s := next(0)
	open := func(testing.TB) storage.Storage { return s }
	for i, c := range commands(text) {
		switch {
		case c.is("clear"):
			s = next(i)
		case c.is("load"):
			promqltest.RunTestWithStorage(t, c.text, engine, open)
		case wanted(c.line):
			t.Run(fmt.Sprint(c.line), func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("not written: %v", slices.Sorted(maps.Keys(s.lost)))
					}
				})
				promqltest.RunTestWithStorage(t, c.text, engine, open)
			})
		}
	}
}

// TestWhatIsListedCannotBeExpressed runs the listed evaluations in a process of their own, where each of them must fail.
func TestWhatIsListedCannotBeExpressed(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAnswersAreThoseOfPrometheus$", "-test.v", "-test.timeout", "10m")
	cmd.Env = append(os.Environ(), inexpressibleEnv+"=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	for at := range listed(t) {
		file, line, _ := strings.Cut(at, ":")
		if name := "TestAnswersAreThoseOfPrometheus/" + file + "/" + line + " "; !strings.Contains(string(out), "--- FAIL: "+name) {
			t.Errorf("%s does not fail: take it off the list", at)
		}
	}
	if t.Failed() {
		t.Logf("%v\n%.4000s", err, out)
	}
}
