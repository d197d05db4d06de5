package otlp

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// refSeries is what the reference makes series ids of, as series.go tells it: fields by name, maps as the columns have them.
type refSeries struct {
	kind                  byte
	name, unit            string
	temporality           int32
	monotonic             bool
	resource, scope       map[string]string
	scopeName, scopeVer   string
	scopeURL              string
	hasTemporality, isSum bool
}

func refOrigin(res pcommon.Resource, scope pcommon.InstrumentationScope, scopeURL string) refSeries {
	s := refSeries{resource: refMap(withoutTenant(res.Attributes())), scope: refMap(scope.Attributes())}
	s.scopeName, s.scopeVer, s.scopeURL = clean(scope.Name()), clean(scope.Version()), clean(scopeURL)
	return s
}

// of returns s with what the metric m says.
func (s refSeries) of(m pmetric.Metric) refSeries {
	s.name, s.unit = clean(m.Name()), clean(m.Unit())
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		s.kind = 1
	case pmetric.MetricTypeSum:
		s.kind, s.hasTemporality, s.isSum = 2, true, true
		s.temporality, s.monotonic = int32(m.Sum().AggregationTemporality()), m.Sum().IsMonotonic()
	case pmetric.MetricTypeHistogram:
		s.kind, s.hasTemporality, s.temporality = 3, true, int32(m.Histogram().AggregationTemporality())
	case pmetric.MetricTypeExponentialHistogram:
		s.kind, s.hasTemporality, s.temporality = 4, true, int32(m.ExponentialHistogram().AggregationTemporality())
	case pmetric.MetricTypeSummary:
		s.kind = 5
	}
	return s
}

func (s refSeries) id(attrs map[string]string) uint64 {
	texts := func(head []byte, texts ...string) uint64 {
		for _, t := range texts {
			head = binary.AppendUvarint(head, uint64(len(t)))
			head = append(head, t...)
		}
		return xxhash.Sum64(head)
	}
	metric := []byte{s.kind}
	if s.hasTemporality {
		metric = binary.LittleEndian.AppendUint32(metric, uint32(s.temporality))
	}
	if s.isSum {
		metric = append(metric, map[bool]byte{true: 1}[s.monotonic])
	}
	scope := binary.LittleEndian.AppendUint64(nil, refSum(s.scope))
	id := refMix(texts(metric, s.name, s.unit) +
		refMix(texts(scope, s.scopeName, s.scopeVer, s.scopeURL)+11400714819323198485) +
		refMix(refSum(s.resource)+13787848793156543929) +
		refSum(attrs))
	return max(id, 1)
}

func refSum(m map[string]string) (sum uint64) {
	for k, v := range m {
		key := xxhash.Sum64String(k) * 10723151780598845931
		sum += refMix((key<<31 | key>>33) + xxhash.Sum64String(v))
	}
	return sum
}

func refMix(x uint64) uint64 {
	x ^= x >> 33
	x *= 18397679294719823053
	x ^= x >> 33
	x *= 14181476777654086739
	x ^= x >> 33
	return x
}

// seriesFixture is a request with a metric of each kind, its attributes in an order that rnd chooses.
func seriesFixture(rnd *rand.Rand, change func(pmetric.ResourceMetrics)) pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	fill := func(m pcommon.Map, attrs map[string]any) {
		keys := slices.Sorted(maps.Keys(attrs))
		rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, k := range keys {
			_ = m.PutEmpty(k).FromRaw(attrs[k])
		}
	}
	fill(rm.Resource().Attributes(), map[string]any{"service.name": "cart", "service.instance.id": "a-1", "host.cpus": 8})
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.SetSchemaUrl("https://opentelemetry.io/schemas/1.30.0")
	sm.Scope().SetName("io.cart")
	sm.Scope().SetVersion("1.2.3")
	fill(sm.Scope().Attributes(), map[string]any{"shard": 3, "team": "shop"})
	attrs := map[string]any{"http.route": "/cart/{id}", "http.response.status_code": 200, "ok": true, "ratio": 0.5,
		"empty": nil, "list": []any{"a", 1}, "name": "größe"}
	for i, kind := range []string{"gauge", "sum", "histogram", "exponential", "summary"} {
		m := sm.Metrics().AppendEmpty()
		m.SetName("m." + kind)
		m.SetUnit("s")
		m.SetDescription("of " + kind)
		at := pcommon.Timestamp(1_767_225_600_000_000_000 + i)
		switch kind {
		case "gauge":
			p := m.SetEmptyGauge().DataPoints().AppendEmpty()
			p.SetTimestamp(at)
			p.SetDoubleValue(1)
			fill(p.Attributes(), attrs)
		case "sum":
			m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			m.Sum().SetIsMonotonic(true)
			p := m.Sum().DataPoints().AppendEmpty()
			p.SetTimestamp(at)
			p.SetIntValue(1)
			fill(p.Attributes(), attrs)
		case "histogram":
			m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			p := m.Histogram().DataPoints().AppendEmpty()
			p.SetTimestamp(at)
			fill(p.Attributes(), attrs)
		case "exponential":
			m.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			p := m.ExponentialHistogram().DataPoints().AppendEmpty()
			p.SetTimestamp(at)
			fill(p.Attributes(), attrs)
		default:
			p := m.SetEmptySummary().DataPoints().AppendEmpty()
			p.SetTimestamp(at)
			fill(p.Attributes(), attrs)
		}
	}
	if change != nil {
		change(rm)
	}
	return md
}

// idsOf returns the series ids of the metrics of md, by metric name.
func idsOf(t testing.TB, d *Decoder, body []byte, st Stamp) map[string]uint64 {
	t.Helper()
	res, err := d.Decode(Metrics, body, st)
	if err != nil || res.Rejected > 0 {
		t.Fatalf("decode: %d rejected, %v", res.Rejected, err)
	}
	out := map[string]uint64{}
	for _, rows := range readRows(t, res).tables {
		for _, r := range rows {
			id, err := strconv.ParseUint(r["SeriesId"], 10, 64)
			if err != nil || id == 0 {
				t.Fatalf("series id %q", r["SeriesId"])
			}
			out[r["MetricName"]] = id
		}
	}
	return out
}

func protobufOf(t testing.TB, md pmetric.Metrics) []byte {
	t.Helper()
	body, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Ids are in tables for years: whatever makes this test fail needs a new column, not new values here.
func TestSeriesIDsAreStableForEver(t *testing.T) {
	want := map[string]uint64{
		"m.gauge":       0x3e98f13da21fe77f,
		"m.sum":         0x930b7fb63a9706f0,
		"m.histogram":   0x49ea9f95c26417f9,
		"m.exponential": 0x6756fe65be8e44be,
		"m.summary":     0xbe377f87ae6cf404,
	}
	got := idsOf(t, NewDecoder(Limits{}), protobufOf(t, seriesFixture(rand.New(rand.NewPCG(1, 1)), nil)), testStamp(t))
	if !maps.Equal(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestSeriesIDIsTheSameHoweverItIsSent(t *testing.T) {
	d, st := NewDecoder(Limits{}), testStamp(t)
	want := idsOf(t, d, protobufOf(t, seriesFixture(rand.New(rand.NewPCG(1, 1)), nil)), st)
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 50 {
		md := seriesFixture(rnd, nil)
		body := protobufOf(t, md)
		json, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		fromJSON, err := JSONToProto(Metrics, json)
		if err != nil {
			t.Fatal(err)
		}
		other := st
		other.Partition, other.RetentionDays = "shared-01", 7
		for name, got := range map[string]map[string]uint64{
			"another order":     idsOf(t, d, body, st),
			"JSON":              idsOf(t, d, fromJSON, st),
			"ascending fields":  idsOf(t, d, ascending(body, mRequestLogs+msg(Metrics)), st),
			"unusual encodings": idsOf(t, d, disguise(rnd, body, mRequestLogs+msg(Metrics)), st),
			"another stamp":     idsOf(t, d, body, other),
		} {
			if !maps.Equal(got, want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
	}
}

// Each part of a series' identity makes another id, and nothing else does.
func TestSeriesIDTellsSeriesApart(t *testing.T) {
	gauge := func(rm pmetric.ResourceMetrics) pmetric.NumberDataPoint {
		return rm.ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0)
	}
	metric := func(rm pmetric.ResourceMetrics, i int) pmetric.Metric { return rm.ScopeMetrics().At(0).Metrics().At(i) }
	for _, c := range []struct {
		name    string
		change  func(pmetric.ResourceMetrics)
		metrics []string // whose ids change; nil is all
	}{
		{"resource attribute", func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("service.instance.id", "a-2") }, nil},
		{"further resource attribute", func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("x", "") }, nil},
		{"scope name", func(rm pmetric.ResourceMetrics) { rm.ScopeMetrics().At(0).Scope().SetName("io.cart1") }, nil},
		{"scope version", func(rm pmetric.ResourceMetrics) { rm.ScopeMetrics().At(0).Scope().SetVersion("") }, nil},
		{"scope schema", func(rm pmetric.ResourceMetrics) { rm.ScopeMetrics().At(0).SetSchemaUrl("") }, nil},
		{"scope attribute", func(rm pmetric.ResourceMetrics) { rm.ScopeMetrics().At(0).Scope().Attributes().PutInt("shard", 4) }, nil},
		{"from the scope to the resource", func(rm pmetric.ResourceMetrics) {
			rm.ScopeMetrics().At(0).Scope().Attributes().Remove("team")
			rm.Resource().Attributes().PutStr("team", "shop")
		}, nil},
		{"attribute", func(rm pmetric.ResourceMetrics) { gauge(rm).Attributes().PutBool("ok", false) }, []string{"m.gauge"}},
		{"no attributes", func(rm pmetric.ResourceMetrics) { gauge(rm).Attributes().Clear() }, []string{"m.gauge"}},
		{"key and value changed over", func(rm pmetric.ResourceMetrics) {
			gauge(rm).Attributes().Remove("http.route")
			gauge(rm).Attributes().PutStr("/cart/{id}", "http.route")
		}, []string{"m.gauge"}},
		{"values changed over", func(rm pmetric.ResourceMetrics) {
			gauge(rm).Attributes().PutStr("http.route", "true")
			gauge(rm).Attributes().PutStr("ok", "/cart/{id}")
		}, []string{"m.gauge"}},
		{"unit", func(rm pmetric.ResourceMetrics) { metric(rm, 1).SetUnit("ms") }, []string{"m.sum"}},
		{"monotonic", func(rm pmetric.ResourceMetrics) { metric(rm, 1).Sum().SetIsMonotonic(false) }, []string{"m.sum"}},
		{"temporality", func(rm pmetric.ResourceMetrics) {
			metric(rm, 2).Histogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		}, []string{"m.histogram"}},

		{"value", func(rm pmetric.ResourceMetrics) { gauge(rm).SetDoubleValue(2) }, []string{}},
		{"time", func(rm pmetric.ResourceMetrics) { gauge(rm).SetTimestamp(1) }, []string{}},
		{"description", func(rm pmetric.ResourceMetrics) { metric(rm, 0).SetDescription("other") }, []string{}},
		{"metadata", func(rm pmetric.ResourceMetrics) { metric(rm, 0).Metadata().PutStr("a", "b") }, []string{}},
		{"resource schema", func(rm pmetric.ResourceMetrics) { rm.SetSchemaUrl("x") }, []string{}},
		{"a client's tenant", func(rm pmetric.ResourceMetrics) { rm.Resource().Attributes().PutStr("tenant.id", "x") }, []string{}},
		{"an int as a string", func(rm pmetric.ResourceMetrics) {
			gauge(rm).Attributes().PutStr("http.response.status_code", "200")
		}, []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, st := NewDecoder(Limits{}), testStamp(t)
			was := idsOf(t, d, protobufOf(t, seriesFixture(rand.New(rand.NewPCG(1, 1)), nil)), st)
			is := idsOf(t, d, protobufOf(t, seriesFixture(rand.New(rand.NewPCG(1, 1)), c.change)), st)
			for name, id := range is {
				want := c.metrics == nil || slices.Contains(c.metrics, name)
				if (id != was[name]) != want {
					t.Errorf("%s: another id is %v, want %v", name, id != was[name], want)
				}
			}
		})
	}
}

// The same name and attributes as another kind are another series.
func TestSeriesIDHasTheKind(t *testing.T) {
	d, st := NewDecoder(Limits{}), testStamp(t)
	ids := map[uint64]bool{}
	for i := range 5 {
		for _, id := range idsOf(t, d, protobufOf(t, seriesFixture(rand.New(rand.NewPCG(1, 1)), func(rm pmetric.ResourceMetrics) {
			n := -1
			rm.ScopeMetrics().At(0).Metrics().RemoveIf(func(m pmetric.Metric) bool {
				m.SetName("same")
				n++
				return n != i
			})
		})), st) {
			ids[id] = true
		}
	}
	if len(ids) != 5 {
		t.Errorf("%d ids for five kinds", len(ids))
	}
}

// Of a repeated key the last value counts, wherever it stands, as in the map that is stored.
func TestSeriesIDTakesTheLastOfARepeatedKey(t *testing.T) {
	d, st := NewDecoder(Limits{}), testStamp(t)
	request := func(keys, values string) []byte {
		md := pmetric.NewMetrics()
		rm := md.ResourceMetrics().AppendEmpty()
		sm := rm.ScopeMetrics().AppendEmpty()
		m := sm.Metrics().AppendEmpty()
		m.SetName("m")
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(1)
		p.SetIntValue(1)
		for _, m := range []pcommon.Map{p.Attributes(), rm.Resource().Attributes(), sm.Scope().Attributes()} {
			for i := range keys {
				m.PutStr("key-"+string(rune('0'+i)), values[i:i+1])
			}
		}
		body := protobufOf(t, md)
		for i := range keys { // pdata's own Put would not repeat a key
			body = bytes.ReplaceAll(body, []byte("key-"+string(rune('0'+i))), []byte("key-"+keys[i:i+1]))
		}
		return body
	}
	want := idsOf(t, d, request("ba", "23"), st)
	for keys, values := range map[string]string{"aba": "123", "aaba": "1123", "bba": "123", "abab": "1132"} {
		if got := idsOf(t, d, request(keys, values), st); !maps.Equal(got, want) {
			t.Errorf("%s = %s: %v, want %v", keys, values, got, want)
		}
	}
	if got := idsOf(t, d, request("ba", "13"), st); maps.Equal(got, want) {
		t.Error("another value has the same id")
	}
}
