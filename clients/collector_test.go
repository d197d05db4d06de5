package clients

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quick is the collector's retry with its waits divided by ten; the rest of both exporters is as it comes.
func quick(r configretry.BackOffConfig) configretry.BackOffConfig {
	r.InitialInterval /= 10
	r.MaxInterval /= 10
	r.MaxElapsedTime /= 10
	return r
}

func collectorGRPC() client {
	return client{"collector otlp", func(ctx context.Context, to target, p plan, t *tally) error {
		f := otlpexporter.NewFactory()
		cfg := f.CreateDefaultConfig().(*otlpexporter.Config)
		c := &cfg.ClientConfig
		c.Endpoint, c.TLS.Insecure, c.TLS.CAFile = to.grpc, to.ca == "", to.ca
		c.Headers.Set("authorization", configopaque.String("Bearer "+to.key))
		cfg.RetryConfig = quick(cfg.RetryConfig)
		return runCollector(ctx, f, cfg, p, t)
	}}
}

func collectorHTTP() client {
	return client{"collector otlphttp", func(ctx context.Context, to target, p plan, t *tally) error {
		f := otlphttpexporter.NewFactory()
		cfg := f.CreateDefaultConfig().(*otlphttpexporter.Config)
		c := &cfg.ClientConfig
		c.Endpoint, c.TLS.CAFile = to.url(to.http), to.ca
		c.Headers.Set("authorization", configopaque.String("Bearer "+to.key))
		cfg.RetryConfig = quick(cfg.RetryConfig)
		return runCollector(ctx, f, cfg, p, t)
	}}
}

// collector is the three exporters that one entry under exporters: makes, with what they report about themselves.
type collector struct {
	logs    exporter.Logs
	traces  exporter.Traces
	metrics exporter.Metrics
	reader  *sdkmetric.ManualReader
	log     *exporterLog
}

// start makes and starts the three exporters.
func (c *collector) start(ctx context.Context, f exporter.Factory, id component.ID, cfg component.Config, host component.Host) (err error) {
	set := exportertest.NewNopSettings(f.Type())
	set.ID, set.Logger, set.MeterProvider = id, zap.New(c.log), sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader))
	if c.logs, err = f.CreateLogs(ctx, set, cfg); err != nil {
		return err
	}
	if c.traces, err = f.CreateTraces(ctx, set, cfg); err != nil {
		return err
	}
	if c.metrics, err = f.CreateMetrics(ctx, set, cfg); err != nil {
		return err
	}
	for _, e := range c.all() {
		if err := e.Start(ctx, host); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) all() []component.Component {
	return []component.Component{c.logs, c.traces, c.metrics}
}

func runCollector(ctx context.Context, f exporter.Factory, cfg component.Config, p plan, t *tally) error {
	c := &collector{reader: sdkmetric.NewManualReader(), log: &exporterLog{tally: t}}
	if err := c.start(ctx, f, component.NewID(f.Type()), cfg, componenttest.NewNopHost()); err != nil {
		return err
	}
	var fed atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed(ctx, p, func(batch int) { c.send(ctx, p, batch, t) })
		fed.Store(true)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Duration(p.batches)*p.pace + p.finish)
	for waiting := true; waiting; {
		finished := fed.Load() // before the numbers, which then are complete
		delivered, failed := c.numbers()
		t.count(func(t *tally) {
			t.acked, t.dropped = delivered-t.rejected, failed
			waiting = !finished || t.acked+t.rejected+t.dropped < t.sent
			t.held = t.sent - t.acked - t.rejected - t.dropped
		})
		select {
		case <-tick.C:
		case <-deadline:
			waiting = false
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	c.log.stopped.Store(true)
	for _, e := range c.all() {
		_ = e.Shutdown(stop) // what it says is about records that are counted as held
	}
	<-done
	return nil
}

// numbers reads the counters that a collector shows on its own /metrics.
func (c *collector) numbers() (delivered, failed int) {
	var rm metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &rm); err != nil {
		panic("BUG: collect: " + err.Error())
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			for i := 0; ok && i < len(sum.DataPoints); i++ {
				switch n := int(sum.DataPoints[i].Value); {
				case strings.HasPrefix(m.Name, "otelcol_exporter_sent_"):
					delivered += n
				case strings.HasPrefix(m.Name, "otelcol_exporter_send_failed_"), strings.HasPrefix(m.Name, "otelcol_exporter_enqueue_failed_"):
					failed += n
				}
			}
		}
	}
	return delivered, failed
}

// exporterLog counts what the exporters say in their log.
type exporterLog struct {
	tally   *tally
	stopped atomic.Bool
}

func (l *exporterLog) Enabled(zapcore.Level) bool        { return true }
func (l *exporterLog) With([]zapcore.Field) zapcore.Core { return l }
func (l *exporterLog) Sync() error                       { return nil }
func (l *exporterLog) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, l)
}

func (l *exporterLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if l.stopped.Load() {
		return nil
	}
	text := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(text)
	}
	switch reason, _ := text.Fields["error"].(string); {
	case strings.HasPrefix(e.Message, "Exporting failed. Will retry"):
		l.tally.count(func(t *tally) { t.retried++ })
		l.tally.because("retry: " + reason)
	case strings.HasPrefix(e.Message, "Exporting failed"):
		l.tally.because(e.Message + " " + reason)
	case e.Message == "Partial success response":
		for _, name := range []string{"dropped_log_records", "dropped_spans", "dropped_data_points"} {
			n, _ := text.Fields[name].(int64)
			l.tally.count(func(t *tally) { t.rejected += int(n) })
		}
		reason, _ := text.Fields["message"].(string)
		l.tally.because("partial success: " + reason)
	}
	return nil
}

// send hands one batch over, as a receiver or a processor of the collector does.
func (c *collector) send(ctx context.Context, p plan, batch int, t *tally) {
	t.count(func(t *tally) { t.sent += p.records })
	now := pcommon.NewTimestampFromTime(time.Now())
	resource := func(r pcommon.Resource) { r.Attributes().PutStr("service.name", "collector") }
	attributes := func(a pcommon.Map, i int) {
		a.PutStr("seq", seq(batch, i))
		a.PutStr("pad", strings.Repeat("x", p.pad))
	}
	var err error
	switch p.signal(batch) {
	case logs:
		data := plog.NewLogs()
		rl := data.ResourceLogs().AppendEmpty()
		resource(rl.Resource())
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for i := range p.records {
			r := records.AppendEmpty()
			r.SetTimestamp(now)
			r.Body().SetStr("a line")
			attributes(r.Attributes(), i)
		}
		err = c.logs.ConsumeLogs(ctx, data)
	case traces:
		data := ptrace.NewTraces()
		rs := data.ResourceSpans().AppendEmpty()
		resource(rs.Resource())
		spans := rs.ScopeSpans().AppendEmpty().Spans()
		for i := range p.records {
			s := spans.AppendEmpty()
			s.SetName("work")
			s.SetStartTimestamp(now)
			s.SetEndTimestamp(now + 1000)
			s.SetTraceID(pcommon.TraceID{1, byte(batch)})
			if i < p.good() {
				s.SetSpanID(pcommon.SpanID{1, byte(batch), byte(i)})
			}
			attributes(s.Attributes(), i)
		}
		err = c.traces.ConsumeTraces(ctx, data)
	case metrics:
		data := pmetric.NewMetrics()
		rm := data.ResourceMetrics().AppendEmpty()
		resource(rm.Resource())
		m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName("level")
		points := m.SetEmptyGauge().DataPoints()
		for i := range p.records {
			d := points.AppendEmpty()
			if i < p.good() {
				d.SetTimestamp(now)
			}
			d.SetIntValue(int64(i))
			attributes(d.Attributes(), i)
		}
		err = c.metrics.ConsumeMetrics(ctx, data)
	}
	if err != nil {
		t.because("not queued: " + err.Error())
	}
}
