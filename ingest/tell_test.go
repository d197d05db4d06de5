package ingest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// TestEveryRefusalAndLostRecordIsToldItsTenant sends what is refused or rejected for one reason each, over both transports, and
// reads what the tenant can see of it.
func TestEveryRefusalAndLostRecordIsToldItsTenant(t *testing.T) {
	g := start(t, Options{MaxBodyBytes: 1 << 16})
	acme, key := g.tenant("acme", auth.NewTenant{})
	limit := int64(1)
	full, fullKey := g.tenant("full", auth.NewTenant{DailyBytes: &limit})
	dropping, dropKey := g.tenant("dropping", auth.NewTenant{DailyBytes: &limit, AtLimit: tenant.Drop})
	g.post("/v1/logs", strings.NewReader("nonsense"), "key", key, "Content-Type", protoType)
	g.post("/v1/logs", strings.NewReader("{}"), "key", key, "Content-Type", "text/plain")
	g.post("/v1/logs", bytes.NewReader(make([]byte, 1<<16+1)), "key", key, "Content-Type", protoType)
	g.post("/v1/logs", strings.NewReader("{}"), "key", "hg_nobody", "Content-Type", jsonType)
	err := g.dial().Invoke(withKey(t.Context(), key), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", []byte("nonsense"),
		new([]byte), grpc.ForceCodecV2(bytesCodec{}))
	if err == nil {
		t.Error("nonsense is taken over gRPC")
	}
	now := time.Now().UnixNano()
	span := func(traceID string) string {
		return fmt.Sprintf(`{"traceId":%q,"spanId":"0102030405060708","name":"s","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}`, traceID, now, now)
	}
	if a := g.post("/v1/traces", strings.NewReader(`{"resourceSpans":[{"scopeSpans":[{"spans":[`+
		span("0102030405060708090a0b0c0d0e0f10")+`,`+span("")+`,`+span("")+`]}]}]}`), "key", key, "Content-Type", jsonType); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, k := range []string{fullKey, dropKey} {
		g.post("/v1/logs", bytes.NewReader(encode(t, logs(3), protobuf)), "key", k, "Content-Type", protoType)
	}

	var rows []metering.RefusalCount
	timetest.Eventually(t, "the counts are written", func() bool {
		page, err := g.ledger.UnsafeRefusalsOfAll(t.Context(), metering.RefusalFilter{})
		if err != nil {
			t.Fatal(err)
		}
		rows = page.Rows
		return len(rows) >= 6
	})
	type seen struct {
		requests, records int64
		text              string
	}
	got := map[string]seen{}
	for _, r := range rows {
		got[r.TenantID+" "+r.Signal+" "+string(r.Reason)] = seen{r.Requests, r.Records, r.Text}
	}
	for name, want := range map[string]seen{
		acme + " logs undecodable":                 {2, 0, "(undecodable)"},
		acme + " logs content-type-unsupported":    {1, 0, "send content-type"},
		acme + " logs too-large":                   {1, 0, "(too-large)"},
		acme + " traces rejected-invalid-trace-id": {1, 2, "2 of 3 spans rejected: 2 invalid trace id"},
		full + " logs limit-daily-bytes":           {1, 0, "used 0 of 1"},
		dropping + " logs dropped-at-limit":        {1, 3, "used 0 of 1"},
	} {
		have := got[name]
		if have.requests != want.requests || have.records != want.records || !strings.Contains(have.text, want.text) {
			t.Errorf("%s: %+v, want %+v", name, have, want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("told besides: %+v", got)
	}
}

func TestReasonsOfRejectionAreIDs(t *testing.T) {
	for reason, id := range rejectedReasons {
		if strings.Trim(string(id), "abcdefghijklmnopqrstuvwxyz-") != "" || len(id) > 64 {
			t.Errorf("%s has the id %q, which the ledger takes for another", reason, id)
		}
	}
}
