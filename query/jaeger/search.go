package jaeger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/plan"
)

// criteria is what the spans that are looked for must have, all in one span. Zero fields ask for nothing.
type criteria struct {
	service, operation       string
	tags                     []pair
	minDuration, maxDuration time.Duration
	start, end               time.Time // half-open
	limit                    int       // traces
}

type pair struct{ key, value string }

// noService is what Jaeger calls the service of spans that name none.
const noService = "OTLPResourceNoServiceName"

func serviceName(stored string) string {
	if stored == "" {
		return noService
	}
	return stored
}

func storedService(name string) string {
	if name == noService {
		return ""
	}
	return name
}

// builder makes conditions on one plan. It keeps the first error.
type builder struct {
	plan *plan.Plan
	err  error
}

func newBuilder(src plan.Source) *builder { return &builder{plan: plan.New(src)} }

func (b *builder) use(column string) *plan.Expr { return plan.Use(b.plan.Key(column)) }

func (b *builder) apply(op plan.Op, args ...*plan.Expr) *plan.Expr {
	e, err := plan.Apply(op, args...)
	if err != nil {
		if b.err == nil {
			b.err = err
		}
		return plan.Value(true)
	}
	return e
}

func (b *builder) where(cond *plan.Expr) {
	b.plan.Stages = append(b.plan.Stages, plan.Where{Cond: cond})
}

func (b *builder) equals(column, value string) *plan.Expr {
	return b.apply(plan.Eq, b.use(column), plan.Value(value))
}

// among is column in list; a list of none is never asked for.
func (b *builder) among(column string, list []string) *plan.Expr {
	args := []*plan.Expr{b.use(column)}
	for _, s := range list {
		args = append(args, plan.Value(s))
	}
	return b.apply(plan.In, args...)
}

// has is true where the map has the pair.
func (b *builder) has(column string, p pair) *plan.Expr {
	key := plan.Value(p.key)
	same := b.apply(plan.Eq, b.apply(plan.Get, b.use(column), key), plan.Value(p.value))
	if p.value != "" {
		return same
	}
	return b.apply(plan.And, b.apply(plan.Has, b.use(column), key), same)
}

// tagged is true for spans that Jaeger would show with the tag: of the span, of its process or in one of its logs. A tag that
// stands for a field is looked for in the field and among the span's own attributes.
func (b *builder) tagged(p pair) *plan.Expr {
	either := []*plan.Expr{b.has("attributes", p)}
	switch p.key {
	case tagError:
		if p.value == "true" {
			either = append(either, b.equals("status", "error"))
		}
	case tagStatusCode:
		if p.value == "OK" || p.value == "ERROR" {
			either = append(either, b.equals("status", p.value))
		}
	case tagSpanKind:
		for _, k := range taggedKinds {
			if k == p.value {
				either = append(either, b.equals("kind", k))
			}
		}
	case tagStatusMessage, tagScopeName, tagLibraryName, tagScopeVersion, tagLibraryVer, tagTraceState:
		if p.value != "" { // an empty field has no tag
			either = append(either, b.equals(fieldTags[p.key], p.value))
		}
	case tagTenant:
		return b.equals("tenant", p.value)
	case tagEvent:
		either = append(either, b.apply(plan.AnyText, b.use("event_names"), plan.Value(p.value)), b.inEvents(p))
	default:
		either = append(either, b.has("resource", p), b.inEvents(p))
	}
	if len(either) == 1 {
		return either[0]
	}
	return b.apply(plan.Or, either...)
}

func (b *builder) inEvents(p pair) *plan.Expr {
	return b.apply(plan.AnyPair, b.use("event_attributes"), plan.Value(p.key), plan.Value(p.value))
}

// fieldTags are the tags that stand for one column.
var fieldTags = map[string]string{
	tagStatusMessage: "status_message", tagScopeName: "scope_name", tagLibraryName: "scope_name",
	tagScopeVersion: "scope_version", tagLibraryVer: "scope_version", tagTraceState: "trace_state",
}

// matching is a plan of the spans that c asks for.
func matching(c criteria) *builder {
	b := newBuilder(plan.SpanRecords)
	if c.service != "" {
		b.where(b.equals("service", storedService(c.service)))
	}
	if c.operation != "" {
		b.where(b.equals("name", c.operation))
	}
	if c.minDuration > 0 {
		b.where(b.apply(plan.Ge, b.use("duration"), plan.Value(c.minDuration)))
	}
	if c.maxDuration > 0 {
		b.where(b.apply(plan.Le, b.use("duration"), plan.Value(c.maxDuration)))
	}
	for _, t := range c.tags {
		b.where(b.tagged(t))
	}
	return b
}

// group ends the plan in one row per value of columns, in their order.
func (b *builder) group(columns ...string) *plan.Plan {
	var by []*plan.Column
	var keys []plan.Key
	for _, c := range columns {
		by = append(by, b.plan.Key(c))
		keys = append(keys, plan.Key{Col: b.plan.Key(c)})
	}
	b.plan.Stages = append(b.plan.Stages, plan.Summarize{By: by}, plan.Sort{Keys: keys})
	b.plan.Output = by
	return b.plan
}

// newest ends the plan in one row per trace with the times of its first and last span, newest trace first.
func (b *builder) newest(limit int) *plan.Plan {
	id := b.plan.Key("trace_id")
	aggs := make([]plan.Agg, 2)
	for i, fn := range []plan.AggFn{plan.Min, plan.Max} {
		agg, err := b.plan.Aggregate("", fn, nil, b.use("time"))
		if err != nil && b.err == nil {
			b.err = err
		}
		aggs[i] = agg
	}
	b.plan.Stages = append(b.plan.Stages,
		plan.Summarize{By: []*plan.Column{id}, Aggs: aggs},
		plan.Sort{Keys: []plan.Key{{Col: aggs[1].Col, Desc: true}, {Col: id}}},
		plan.Limit{N: limit})
	b.plan.Output = []*plan.Column{id, aggs[0].Col, aggs[1].Col}
	return b.plan
}

// recordsOf is a plan of all spans of the traces, traces in order of ids, spans in order of time.
func recordsOf(ids []string) (*plan.Plan, error) {
	b := newBuilder(plan.SpanRecords)
	b.where(b.among("trace_id", ids))
	place := b.plan.Define("place", b.apply(plan.Index, b.use("trace_id"), plan.Value(ids)))
	b.plan.Stages = append(b.plan.Stages, plan.Extend{Defs: []plan.Def{place}})
	sort := plan.Sort{Keys: []plan.Key{{Col: place.Col}}}
	for _, c := range []string{"time", "start_nanos", "span_id", "tenant", "service", "name", "end_nanos"} {
		sort.Keys = append(sort.Keys, plan.Key{Col: b.plan.Key(c)})
	}
	b.plan.Stages = append(b.plan.Stages, sort)
	b.plan.Output = nil
	for _, c := range recordColumns() {
		b.plan.Output = append(b.plan.Output, b.plan.Key(c))
	}
	return b.plan, b.err
}

// rows runs a plan and calls f with the values of each row, which are valid until f returns.
func (h *handler) rows(ctx context.Context, p *plan.Plan, scope tenant.Scope, b query.Bounds, f func([][]byte) error) error {
	st, err := h.print(p, scope, b)
	if err != nil {
		return err
	}
	return h.each(ctx, st, f)
}

func (h *handler) each(ctx context.Context, st query.Stmt, f func([][]byte) error) error {
	res, err := h.reader.Run(ctx, st, query.Rows)
	if err != nil {
		return err
	}
	defer res.Close()
	for {
		values, err := res.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(values)
		}
		if err != nil {
			return err
		}
	}
}

func (h *handler) print(p *plan.Plan, scope tenant.Scope, b query.Bounds) (query.Stmt, error) {
	st, err := query.Print(p, scope, b)
	if errors.Is(err, query.ErrTooComplex) {
		return st, invalid("%v: ask with fewer or shorter tags", err)
	}
	return st, err
}

// texts runs a plan and returns the texts of its rows' columns.
func (h *handler) texts(ctx context.Context, p *plan.Plan, scope tenant.Scope, b query.Bounds) (out [][]string, err error) {
	err = h.rows(ctx, p, scope, b, func(values [][]byte) error {
		row := make([]string, len(values))
		for i, v := range values {
			if err := json.Unmarshal(v, &row[i]); err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
		}
		out = append(out, row)
		return nil
	})
	return out, err
}

// found are traces by id, newest first, and the time that they were found in.
type found struct {
	ids         []string
	first, last time.Time
}

const (
	firstWindow = 15 * time.Minute // how much of the end of a range a search looks through first
	// A range that is not so many times as long as the window is looked through at once: another statement costs more.
	windowGrowth    = 4
	maxWindowGrowth = 64
	maxWindow       = 400 * 24 * time.Hour // beyond it the rest is looked through at once
)

// find returns the newest traces that have a span that c asks for.
//
// It looks through the newest part of the range first: a trace whose newest matching span lies there is newer than all that
// have none there, so when there are enough, the rest of the range could not change the answer. The next part is as long as
// it has to be if traces are as frequent in it.
func (h *handler) find(ctx context.Context, scope tenant.Scope, c criteria) (found, error) {
	for window := firstWindow; ; {
		start := c.end.Add(-window)
		last := window > maxWindow || c.end.Sub(c.start) <= windowGrowth*window
		if last {
			start = c.start
		}
		out, err := h.findIn(ctx, scope, c, start)
		if err != nil || last || len(out.ids) >= c.limit {
			return out, err
		}
		window *= growth(c.limit, len(out.ids))
	}
}

// growth is how many times as long the next window is, after one that had so many of the traces that are wanted.
func growth(want, found int) time.Duration {
	if found == 0 {
		return maxWindowGrowth
	}
	return time.Duration(min(max(windowGrowth, 3*want/(2*found)), maxWindowGrowth))
}

func (h *handler) findIn(ctx context.Context, scope tenant.Scope, c criteria, start time.Time) (out found, err error) {
	return h.traceTimes(ctx, scope, matching(c), h.bounds(start, c.end, c.limit))
}

// locate narrows a look-up by ids to those of ids that have a span in the range, and widens the range to where their other
// spans are looked for. The range of all times needs neither.
func (h *handler) locate(ctx context.Context, scope tenant.Scope, ids []string, start, end time.Time) (found, error) {
	if !start.After(firstTime) && !end.Before(endTime) {
		return found{ids: ids, first: start, last: end}, nil
	}
	b := newBuilder(plan.SpanRecords)
	b.where(b.among("trace_id", ids))
	there, err := h.traceTimes(ctx, scope, b, h.bounds(start, end, len(ids)))
	if err != nil {
		return found{}, err
	}
	there.ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(there.ids, id) })
	return there, nil
}

// traceTimes returns the newest traces of the spans that b keeps, at most as many as the bounds let through.
func (h *handler) traceTimes(ctx context.Context, scope tenant.Scope, b *builder, bounds query.Bounds) (out found, err error) {
	p := b.newest(bounds.Limit)
	if b.err != nil {
		return out, b.err
	}
	err = h.rows(ctx, p, scope, bounds, func(values [][]byte) error {
		var id string
		var from, to time.Time
		for i, into := range []any{&id, &from, &to} {
			if err := json.Unmarshal(values[i], into); err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
		}
		if out.ids == nil || from.Before(out.first) {
			out.first = from
		}
		if out.ids == nil || to.After(out.last) {
			out.last = to
		}
		out.ids = append(out.ids, id)
		return nil
	})
	return out, err
}

// around is how far from the spans that matched the other spans of a trace are looked for.
const around = time.Hour

// open starts reading the spans of traces, of which there is one at least. The caller closes the result.
func (h *handler) open(ctx context.Context, scope tenant.Scope, f found) (*records, error) {
	p, err := recordsOf(f.ids)
	if err != nil {
		return nil, err
	}
	st, err := h.print(p, scope, h.bounds(f.first.Add(-around), f.last.Add(around), h.opts.MaxSpans))
	if err != nil {
		return nil, err
	}
	res, err := h.reader.Run(ctx, st, query.Rows)
	if err != nil {
		return nil, err
	}
	return &records{res: res}, nil
}

// bounds are those of a statement, within what times of the tables can be.
func (h *handler) bounds(start, end time.Time, limit int) query.Bounds {
	if start.Before(firstTime) {
		start = firstTime
	}
	if end.After(endTime) {
		end = endTime
	}
	if !start.Before(end) {
		start = end.Add(-1)
	}
	return query.Bounds{Start: start, End: end, Now: h.opts.Now(), Limit: limit}
}

// Every span's time lies between these.
var (
	firstTime = time.Unix(0, 0).UTC()
	endTime   = time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC)
)

// unique returns list without repetitions, in order.
func unique(list []string) (out []string) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
