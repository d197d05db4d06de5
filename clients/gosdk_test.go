package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// goSDK is the exporters of the Go SDK. They are called as the batch processors and the periodic reader call them, so
// that the fate of every batch is known.
type goSDK struct {
	logs    sdklog.Exporter
	traces  sdktrace.SpanExporter
	metrics [4]sdkmetric.Exporter // each sends one request at a time: several, lest they hold up the rest
}

// attempts is the context key of the counter of one batch's requests.
type attempts struct{}

func attempt(ctx context.Context) {
	if n, ok := ctx.Value(attempts{}).(*atomic.Int32); ok {
		n.Add(1)
	}
}

func countCalls(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	attempt(ctx)
	return invoke(ctx, method, req, reply, cc, opts...)
}

type countRequests struct{ http.RoundTripper }

func (c countRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	attempt(r.Context())
	return c.RoundTripper.RoundTrip(r)
}

// goGRPC has the defaults of the exporters, gzip and the key aside.
func goGRPC() client {
	return client{"go grpc", func(ctx context.Context, to target, p plan, t *tally) error {
		headers, count := map[string]string{"authorization": "Bearer " + to.key}, grpc.WithUnaryInterceptor(countCalls)
		secure := insecure.NewCredentials()
		var g goSDK
		var errs [4]error
		if to.ca != "" {
			secure, errs[0] = credentials.NewClientTLSFromFile(to.ca, "")
		}
		g.logs, errs[1] = otlploggrpc.New(ctx, otlploggrpc.WithEndpoint(to.grpc), otlploggrpc.WithTLSCredentials(secure),
			otlploggrpc.WithHeaders(headers), otlploggrpc.WithCompressor("gzip"), otlploggrpc.WithDialOption(count))
		g.traces, errs[2] = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(to.grpc), otlptracegrpc.WithTLSCredentials(secure),
			otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithCompressor("gzip"), otlptracegrpc.WithDialOption(count))
		for i := range g.metrics {
			g.metrics[i], errs[3] = otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(to.grpc), otlpmetricgrpc.WithTLSCredentials(secure),
				otlpmetricgrpc.WithHeaders(headers), otlpmetricgrpc.WithCompressor("gzip"), otlpmetricgrpc.WithDialOption(count))
		}
		return g.run(ctx, p, t, errors.Join(errs[:]...))
	}}
}

// goHTTP has the defaults likewise: the timeout of 10 s is of one request there.
func goHTTP() client {
	return client{"go http", func(ctx context.Context, to target, p plan, t *tally) error {
		through := http.DefaultTransport.(*http.Transport).Clone()
		defer through.CloseIdleConnections()
		if to.ca != "" {
			pem, err := os.ReadFile(to.ca)
			if err != nil {
				return err
			}
			through.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
			through.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
		}
		headers, client := map[string]string{"authorization": "Bearer " + to.key}, &http.Client{Transport: countRequests{through}, Timeout: 10 * time.Second}
		var g goSDK
		var errs [3]error
		g.logs, errs[0] = otlploghttp.New(ctx, otlploghttp.WithEndpointURL(to.url(to.http)+"/v1/logs"),
			otlploghttp.WithHeaders(headers), otlploghttp.WithCompression(otlploghttp.GzipCompression), otlploghttp.WithHTTPClient(client))
		g.traces, errs[1] = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(to.url(to.http)+"/v1/traces"),
			otlptracehttp.WithHeaders(headers), otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithHTTPClient(client))
		for i := range g.metrics {
			g.metrics[i], errs[2] = otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(to.url(to.http)+"/v1/metrics"),
				otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression), otlpmetrichttp.WithHTTPClient(client))
		}
		return g.run(ctx, p, t, errors.Join(errs[:]...))
	}}
}

func (g goSDK) run(ctx context.Context, p plan, t *tally, err error) error {
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, time.Duration(p.batches)*p.pace+p.finish)
	defer cancel()
	feed(limit, p, func(batch int) {
		t.count(func(t *tally) { t.sent += p.records })
		var n atomic.Int32
		err := g.export(context.WithValue(limit, attempts{}, &n), p, batch)
		rejected, partial := rejectedBy(err)
		t.count(func(t *tally) {
			t.retried += max(0, int(n.Load())-1)
			switch {
			case err == nil || partial:
				t.acked += p.records - rejected
				t.rejected += rejected
				if rejected == p.bad {
					t.batches = append(t.batches, batch)
				}
			case limit.Err() != nil:
				t.held += p.records
			default:
				t.dropped += p.records
			}
		})
		if err != nil {
			t.because(err.Error())
		}
	})
	stop, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancelStop()
	err = errors.Join(g.logs.Shutdown(stop), g.traces.Shutdown(stop))
	for _, e := range g.metrics {
		err = errors.Join(err, e.Shutdown(stop))
	}
	return err
}

// partialText is how the SDK words a partial success; its type is in an internal package of each exporter.
var partialText = regexp.MustCompile(`OTLP partial success: .*\((\d+) (?:logs|spans|metric data points) rejected\)`)

// rejectedBy reports whether err is the SDK's way of telling of a partial success, and how many records were rejected: none
// where the server has something to say beside.
func rejectedBy(err error) (rejected int, partial bool) {
	if err == nil {
		return 0, false
	}
	m := partialText.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	return n, true
}

// keep collects what a logger emits: the SDK offers no other way to make a record.
type keep struct {
	mu      sync.Mutex
	records []sdklog.Record
}

func (k *keep) OnEmit(_ context.Context, r *sdklog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, r.Clone())
	return nil
}
func (k *keep) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }
func (k *keep) Shutdown(context.Context) error                         { return nil }
func (k *keep) ForceFlush(context.Context) error                       { return nil }

var goResource = resource.NewSchemaless(attribute.String("service.name", "go"))

func (g goSDK) export(ctx context.Context, p plan, batch int) error {
	now, pad := time.Now(), strings.Repeat("x", p.pad)
	attributes := func(i int) []attribute.KeyValue {
		return []attribute.KeyValue{attribute.String("seq", seq(batch, i)), attribute.String("pad", pad)}
	}
	switch p.signal(batch) {
	case logs:
		var kept keep
		logger := sdklog.NewLoggerProvider(sdklog.WithProcessor(&kept), sdklog.WithResource(goResource)).Logger("clients")
		for i := range p.records {
			var r log.Record
			r.SetTimestamp(now)
			r.SetBody(attribute.StringValue("a line"))
			r.AddAttributes(attributes(i)...)
			logger.Emit(ctx, r)
		}
		return g.logs.Export(ctx, kept.records)
	case traces:
		var stubs tracetest.SpanStubs
		for i := range p.records {
			id := trace.SpanContextConfig{TraceID: trace.TraceID{1, byte(batch)}, SpanID: trace.SpanID{1, byte(batch), byte(i)}}
			if i >= p.good() {
				id.SpanID = trace.SpanID{}
			}
			stubs = append(stubs, tracetest.SpanStub{
				Name: "work", SpanContext: trace.NewSpanContext(id), StartTime: now, EndTime: now.Add(time.Microsecond),
				Attributes: attributes(i), Resource: goResource,
			})
		}
		return g.traces.ExportSpans(ctx, stubs.Snapshots())
	default:
		var points []metricdata.DataPoint[int64]
		for i := range p.records {
			d := metricdata.DataPoint[int64]{Attributes: attribute.NewSet(attributes(i)...), Time: now, Value: int64(i)}
			if i >= p.good() {
				d.Time = time.Time{}
			}
			points = append(points, d)
		}
		return g.metrics[batch/len(p.signals)%len(g.metrics)].Export(ctx, &metricdata.ResourceMetrics{Resource: goResource, ScopeMetrics: []metricdata.ScopeMetrics{{
			Metrics: []metricdata.Metrics{{Name: "level", Data: metricdata.Gauge[int64]{DataPoints: points}}},
		}}})
	}
}
