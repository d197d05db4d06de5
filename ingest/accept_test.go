package ingest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestSameDataCostsTheSameOnEveryTransport sends one request in every form and finds equal bills and rows (S13).
func TestSameDataCostsTheSameOnEveryTransport(t *testing.T) {
	g := start(t, Options{})
	req := logs(7)
	raw, text := encode(t, req, protobuf), encode(t, req, jsonEncoding)
	forms := map[string]func(key string){
		"grpc": func(key string) {
			if _, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), req); err != nil {
				t.Errorf("grpc: %v", err)
			}
		},
		"grpc-gzip": func(key string) {
			if _, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), req, grpc.UseCompressor("gzip")); err != nil {
				t.Errorf("grpc gzip: %v", err)
			}
		},
		"http-protobuf": func(key string) {
			want200(t, g.post("/v1/logs", bytes.NewReader(raw), "key", key, "Content-Type", protoType), protoType, "")
		},
		"http-protobuf-gzip": func(key string) {
			want200(t, g.post("/v1/logs", bytes.NewReader(zipped(t, raw)), "key", key, "Content-Type", protoType, "Content-Encoding", "gzip"), protoType, "")
		},
		"http-json": func(key string) {
			want200(t, g.post("/v1/logs", bytes.NewReader(text), "key", key, "Content-Type", "Application/JSON; charset=utf-8"), jsonType, "{}")
		},
		"http-json-gzip-chunked": func(key string) {
			want200(t, g.post("//v1/logs/", io.MultiReader(bytes.NewReader(zipped(t, text))), "key", key, "Content-Type", jsonType, "Content-Encoding", "GZIP"), jsonType, "{}")
		},
		"http-x-api-key": func(key string) {
			want200(t, g.post("/v1/logs", bytes.NewReader(raw), "X-Api-Key", key, "Content-Type", protoType), protoType, "")
		},
	}
	for name, send := range forms {
		id, key := g.tenant(name, auth.NewTenant{})
		send(key)
		if bill := g.billed(id); bill.BilledBytes != int64(len(raw)) || bill.Records != 7 || bill.Requests != 1 {
			t.Errorf("%s: billed %+v, want %d bytes, 7 records, 1 request", name, bill, len(raw))
		}
		if n := g.rows(schema.Logs, id); n != 7 {
			t.Errorf("%s: %d rows, want 7", name, n)
		}
	}
}

func want200(t *testing.T, a answer, contentType, body string) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != contentType || string(a.body) != body {
		t.Errorf("answer %d %q %q, want 200 %q %q", a.status, a.header.Get("Content-Type"), a.body, contentType, body)
	}
}

func TestH17EmptyRequestsAreAccepted(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for _, path := range []string{"/v1/logs", "/v1/traces", "/v1/metrics"} {
		want200(t, g.post(path, nil, "key", key, "Content-Type", protoType), protoType, "")
		want200(t, g.post(path, strings.NewReader("{}"), "key", key, "Content-Type", jsonType), jsonType, "{}")
	}
}

func spans(bad int) ptraceotlp.ExportRequest {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for i := range 3 {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID([16]byte{1})
		if i >= bad {
			s.SetSpanID([8]byte{byte(i + 1)})
		}
		s.SetName("op")
		s.SetStartTimestamp(1_700_000_000_000_000_000)
	}
	return ptraceotlp.NewExportRequestFromTraces(td)
}

// TestS2PartialSuccessCountsExactly: one bad span costs itself alone, on both transports.
func TestS2PartialSuccessCountsExactly(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	resp, err := ptraceotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), spans(1))
	if err != nil {
		t.Fatalf("Export: %v", err)
	}
	if n := resp.PartialSuccess().RejectedSpans(); n != 1 {
		t.Errorf("grpc: %d spans rejected, want 1", n)
	}
	a := g.post("/v1/traces", bytes.NewReader(encode(t, spans(2), jsonEncoding)), "key", key, "Content-Type", jsonType)
	if a.status != 200 || !strings.Contains(string(a.body), `"rejectedSpans":"2"`) || !strings.Contains(string(a.body), "invalid span id") {
		t.Errorf("http: %d %s", a.status, a.body)
	}
	if n := g.rows(schema.Traces, id); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	if bill := g.billed(id); bill.Records != 3 || bill.RejectedRecords != 3 {
		t.Errorf("billed %+v, want 3 records, 3 rejected", bill)
	}
}

// TestMetricsOfAllKindsAreStored writes one request into five tables.
func TestMetricsOfAllKindsAreStored(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	md := pmetric.NewMetrics()
	ms := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	const now = 1_700_000_000_000_000_000
	add := func(name string) pmetric.Metric { m := ms.AppendEmpty(); m.SetName(name); return m }
	p := add("gauge").SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(now)
	p.SetIntValue(9_007_199_254_740_993)
	p = add("sum").SetEmptySum().DataPoints().AppendEmpty()
	p.SetTimestamp(now)
	p.SetDoubleValue(1.5)
	add("histogram").SetEmptyHistogram().DataPoints().AppendEmpty().SetTimestamp(now)
	add("exphistogram").SetEmptyExponentialHistogram().DataPoints().AppendEmpty().SetTimestamp(now)
	add("summary").SetEmptySummary().DataPoints().AppendEmpty().SetTimestamp(now)
	if _, err := pmetricotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), pmetricotlp.NewExportRequestFromMetrics(md)); err != nil {
		t.Fatalf("Export: %v", err)
	}
	for _, table := range schema.Tables {
		if !strings.Contains(table, "metrics") {
			continue
		}
		if n := g.rows(table, id); n != 1 {
			t.Errorf("%s: %d rows, want 1", table, n)
		}
	}
	var exact int64
	if err := g.conn.QueryRow(t.Context(), "SELECT ValueInt FROM otel_metrics_gauge").Scan(&exact); err != nil || exact != 9_007_199_254_740_993 {
		t.Errorf("ValueInt = %d, %v", exact, err)
	}
}

// TestA8ClientsTenantIDIsOverruled: once, twice, on an empty resource and on none.
func TestA8ClientsTenantIDIsOverruled(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	victim, _ := g.tenant("victim", auth.NewTenant{})
	const claim = `{"key":"tenant.id","value":{"stringValue":"VICTIM"}}`
	const records = `"scopeLogs":[{"logRecords":[{"timeUnixNano":"1700000000000000000","body":{"stringValue":"x"}}]}]`
	for _, resource := range []string{
		`"resource":{"attributes":[` + claim + `]},`,
		`"resource":{"attributes":[` + claim + `,{"key":"service.name","value":{"stringValue":"s"}},` + claim + `]},`,
		`"resource":{},`,
		``,
	} {
		body := strings.ReplaceAll(`{"resourceLogs":[{`+resource+records+`}]}`, "VICTIM", victim)
		want200(t, g.post("/v1/logs", strings.NewReader(body), "key", key, "Content-Type", jsonType), jsonType, "{}")
	}
	if n := g.rows(schema.Logs, victim); n != 0 {
		t.Errorf("%d rows went to the claimed tenant", n)
	}
	var n, claimed uint64
	err := g.conn.QueryRow(t.Context(), `SELECT countIf(TenantId = ResourceAttributes['tenant.id']
		AND length(arrayFilter(k -> k = 'tenant.id', mapKeys(ResourceAttributes))) = 1), countIf(has(mapValues(ResourceAttributes), '`+victim+`'))
		FROM otel_logs WHERE TenantId = '`+id+`'`).Scan(&n, &claimed)
	if err != nil || n != 4 || claimed != 0 {
		t.Errorf("%d of 4 rows are stamped, %d keep the claim, %v", n, claimed, err)
	}
}

// TestConcurrentSendersNeverPassTheLimit: the ledger equals what was acked, and neither passes the limit by a byte.
func TestConcurrentSendersNeverPassTheLimit(t *testing.T) {
	g := start(t, Options{})
	req := logs(3)
	size := int64(len(encode(t, req, protobuf)))
	limit := size*40 + size/2
	id, key := g.tenant("acme", auth.NewTenant{DailyBytes: &limit})
	client := plogotlp.NewGRPCClient(g.dial())
	var acked atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 4 {
				if _, err := client.Export(withKey(t.Context(), key), req); err == nil {
					acked.Add(size)
				}
			}
		})
	}
	wg.Wait()
	bill := g.billed(id)
	if bill.BilledBytes != acked.Load() || bill.BilledBytes > limit || bill.BilledBytes != 40*size {
		t.Errorf("billed %d, acked %d, limit %d, want all that fits: %d", bill.BilledBytes, acked.Load(), limit, 40*size)
	}
	if n := g.rows(schema.Logs, id); n != uint64(bill.Records) {
		t.Errorf("%d rows for %d billed records", n, bill.Records)
	}
}

// TestShutdownFlushesWhatWasAcked stops the server while acked requests of each transport wait for their INSERT.
func TestShutdownFlushesWhatWasAcked(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	g := startOn(t, conn, Options{}, time.Hour)
	id, key := g.tenant("acme", auth.NewTenant{})
	if _, err := plogotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), logs(2)); err != nil {
		t.Errorf("grpc: %v", err)
	}
	want200(t, g.post("/v1/logs", bytes.NewReader(encode(t, logs(3), protobuf)), "key", key, "Content-Type", protoType), protoType, "")
	if n := g.metric("headgate_storage_log_requests"); n != 2 {
		t.Errorf("%v requests wait, want both", n)
	}
	g.stop()
	if n := g.rows(schema.Logs, id); n != 5 {
		t.Errorf("%d rows, want 5", n)
	}
	if bill := g.billed(id); bill.Records != 5 {
		t.Errorf("billed %+v, want 5 records", bill)
	}
}

// TestShutdownUnderLoadLosesNothingAcked stops the server while many senders are at it.
func TestShutdownUnderLoadLosesNothingAcked(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	req := logs(2)
	raw := encode(t, req, protobuf)
	client := plogotlp.NewGRPCClient(g.dial())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var acked atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for {
				if i%2 == 0 {
					if _, err := client.Export(withKey(ctx, key), req); err != nil {
						return
					}
				} else {
					hr, _ := http.NewRequestWithContext(ctx, http.MethodPost, g.http+"/v1/logs", bytes.NewReader(raw))
					hr.Header.Set("Authorization", "Bearer "+key)
					hr.Header.Set("Content-Type", protoType)
					resp, err := http.DefaultClient.Do(hr)
					if err != nil {
						return
					}
					resp.Body.Close()
					if resp.StatusCode != 200 {
						t.Errorf("received, but answered %d", resp.StatusCode)
						return
					}
				}
				if acked.Add(2) == 400 {
					go g.stop()
				}
			}
		})
	}
	wg.Wait()
	g.stop()
	if n := g.rows(schema.Logs, id); n < uint64(acked.Load()) || acked.Load() < 400 {
		t.Errorf("%d rows for %d acked records", n, acked.Load())
	}
	if bill := g.billed(id); bill.Records < acked.Load() {
		t.Errorf("%d records billed, %d acked", bill.Records, acked.Load())
	}
}
