package query_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

var hourStart = time.Date(2025, 3, 4, 10, 0, 0, 0, time.UTC)

const (
	logsEach   = 20_000
	tracesEach = 100
	spansEach  = 20 // of a trace
	seriesEach = 50
)

// newParlour makes the store: every text of tenant x has "owner-x" in it. The tenants c and d have logs alone.
func newParlour(t *testing.T) *parlour {
	p := &parlour{t: t, name: chtest.Database(t), count: map[string]int{}}
	p.writer = chtest.Start(t).Open(t, p.name)
	if err := storage.Migrate(t.Context(), p.writer, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"a", "b", "c", "d"} {
		if err := p.writer.Exec(t.Context(), fmt.Sprintf("INSERT INTO otel_logs (TenantId, Partition, Timestamp, ServiceName, Body) SELECT '%[1]s', '%[4]s', "+
			"fromUnixTimestamp64Nano(%[2]d + number * 1000), 's', concat('owner-%[1]s ', repeat(toString(number), 20)) FROM numbers(%[3]d)", owner, hourStart.UnixNano(), logsEach, chtest.Partition(owner))); err != nil {
			t.Fatal(err)
		}
	}
	for _, owner := range []string{"a", "b"} {
		p.sendTelemetry(owner)
	}
	// The flusher would write these.
	const described = "TenantId, Partition, RetentionDays, ReceivedAt, MetricName, SeriesId, Attributes, ServiceName, ResourceAttributes"
	if err := p.writer.Exec(t.Context(), "INSERT INTO otel_metrics_series (Day, Kind, "+described+") SELECT DISTINCT toDate(TimeUnix), 'gauge', "+described+" FROM otel_metrics_gauge"); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *parlour) sendTelemetry(owner string) {
	p.t.Helper()
	at := func(d time.Duration) pcommon.Timestamp { return pcommon.NewTimestampFromTime(hourStart.Add(d)) }
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "s")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range tracesEach * spansEach {
		s := spans.AppendEmpty()
		s.SetTraceID([16]byte{owner[0], 15: byte(i / spansEach)})
		s.SetSpanID([8]byte{1, byte(i >> 8), byte(i)})
		s.SetName("owner-" + owner)
		s.SetStartTimestamp(at(time.Minute))
		s.SetEndTimestamp(at(2 * time.Minute))
	}
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "s")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("load")
	points := m.SetEmptyGauge().DataPoints()
	for i := range seriesEach {
		for minute := range 60 {
			dp := points.AppendEmpty()
			dp.SetTimestamp(at(time.Duration(minute) * time.Minute))
			dp.SetDoubleValue(float64(i))
			dp.Attributes().PutStr("i", fmt.Sprintf("owner-%s %d", owner, i))
		}
	}
	id, err := tenant.ParseID(owner)
	if err != nil {
		p.t.Fatal(err)
	}
	spansBody, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	pointsBody, err2 := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err := errors.Join(err, err2); err != nil {
		p.t.Fatal(err)
	}
	for sig, body := range map[otlp.Signal][]byte{otlp.Traces: spansBody, otlp.Metrics: pointsBody} {
		res, err := otlp.NewDecoder(otlp.Limits{}).Decode(sig, body, otlp.Stamp{Tenant: id, Partition: id.Partition(false), RetentionDays: 60_000, Received: hourStart})
		if err != nil || res.Rejected > 0 {
			p.t.Fatalf("decode: %v, %d rejected: %s", err, res.Rejected, res.Message)
		}
		for _, r := range res.Rows {
			chtest.Insert(p.t, p.writer, r.Table, r.Encode().AppendTo(nil, 1))
		}
	}
}

// tierOf gives the tenants whose queries fail the limits that they fail by.
func tierOf(payer tenant.ID) string {
	return map[string]string{"c": "little", "d": "brief"}[payer.String()]
}

// statements counts those that run on the store.
func (p *parlour) statements() int {
	var n uint64
	if err := p.writer.QueryRow(p.t.Context(), "SELECT count() FROM system.processes WHERE current_database = '"+p.name+"' AND query LIKE '%PREWHERE%' AND query NOT LIKE '%system.processes%'").Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return int(n)
}

// counting counts the connections that requests were the first on.
type counting struct {
	*http.Transport
	fresh *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			c.fresh.Add(1)
		}
	}}
	return c.Transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
}

func stacks() string {
	buf := make([]byte, 4<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
