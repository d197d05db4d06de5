package ingest

import (
	"bytes"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"github.com/headgate-io/headgate/auth"
)

// request is what the request types of pdata share.
type request interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

// everySignal is a small request of each of the three stable signals.
func everySignal() map[string]request {
	td := ptrace.NewTraces()
	span := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID([16]byte{1})
	span.SetSpanID([8]byte{2})
	span.SetName("checkout")
	md := pmetric.NewMetrics()
	metric := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	metric.SetName("requests")
	point := metric.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetTimestamp(1_700_000_000_000_000_000)
	point.SetIntValue(1)
	return map[string]request{
		"logs": logs(1), "traces": ptraceotlp.NewExportRequestFromTraces(td), "metrics": pmetricotlp.NewExportRequestFromMetrics(md),
	}
}

// TestJ17BodyOfAnotherSignalIsSaid: whether it is taken as a request of unknown fields, as OTLP has it, or refused, the
// answer names the signal that it looks like. A body of the right signal is not doubted.
func TestJ17BodyOfAnotherSignalIsSaid(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	for sent, req := range everySignal() {
		for _, path := range []string{"logs", "traces", "metrics"} {
			for _, enc := range []encoding{protobuf, jsonEncoding} {
				a := g.post("/v1/"+path, bytes.NewReader(encode(t, req, enc)), "key", key, "Content-Type", enc.contentType())
				said := strings.Contains(string(a.body), "looks like OTLP "+sent)
				switch {
				case path == sent && (a.status != 200 || bytes.Contains(a.body, []byte("looks like"))):
					t.Errorf("%s as %s: %d %q", sent, enc.contentType(), a.status, a.body)
				case path != sent && enc == jsonEncoding && (a.status != 200 || !said || bytes.Contains(a.body, []byte("rejected"))):
					t.Errorf("%s to %s in JSON: %d %q", sent, path, a.status, a.body)
				case path != sent && a.status == 200 && !said && !bytes.Contains(a.body, []byte("rejected")):
					t.Errorf("%s to %s are taken and nothing is said: %q", sent, path, a.body)
				case path == "logs" && sent != "logs" && !said:
					t.Errorf("%s to logs as %s: %d %q", sent, enc.contentType(), a.status, a.body)
				}
			}
		}
	}
	for _, empty := range []string{"{}", `{"resourceLogs":[]}`, `{"other":{"resources":[]}}`} {
		want200(t, g.post("/v1/logs", strings.NewReader(empty), "key", key, "Content-Type", jsonType), jsonType, "{}")
	}
	raw := encode(t, everySignal()["metrics"], protobuf)
	var answer []byte
	err := g.dial().Invoke(withKey(t.Context(), key), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", raw, &answer, grpc.ForceCodecV2(bytesCodec{}))
	if err != nil || !bytes.Contains(answer, []byte("looks like OTLP metrics")) {
		t.Errorf("metrics to the service of logs: %q, %v", answer, err)
	}
}

// TestJ17OnlyTheFirstRecordIsLookedAt and damaged bodies are not doubted: their refusal says what is wrong.
func TestJ17OnlyTheFirstRecordIsLookedAt(t *testing.T) {
	whole := encode(t, everySignal()["traces"], protobuf)
	for n := range whole {
		if got := protobufLooksLike(0, whole[:n]); got != "" && got != "traces" {
			t.Errorf("%d bytes of traces look like %s", n, got)
		}
	}
	if got := protobufLooksLike(0, encode(t, logs(1), protobuf)); got != "" {
		t.Errorf("logs look like %s", got)
	}
}
