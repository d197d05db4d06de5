package ingest

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// D1: fields that are not known are counted by signal for the operator, and by tenant and key for both.
func TestD1UnknownFieldsAreCountedPerTenant(t *testing.T) {
	g := start(t, Options{})
	acme, key := g.tenant("acme", auth.NewTenant{})
	_, other := g.tenant("globex", auth.NewTenant{})
	known := encode(t, logs(2), protobuf)
	newer := protowire.AppendVarint(protowire.AppendTag(bytes.Clone(known), 15_000, protowire.VarintType), 1)
	text := `{"resourceLogs":[{"newer":1,"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","alsoNewer":{"a":{"b":1}}}]}]}]}`
	want200(t, g.post("/v1/logs", bytes.NewReader(known), "key", other, "Content-Type", protoType), protoType, "")
	want200(t, g.post("/v1/logs", bytes.NewReader(newer), "key", key, "Content-Type", protoType), protoType, "")
	want200(t, g.post("/v1/logs", bytes.NewReader(zipped(t, []byte(text))), "key", key, "Content-Type", jsonType, "Content-Encoding", "gzip"), jsonType, "{}")
	want200(t, g.post("/v1/logs", strings.NewReader(strings.Replace(text, "1", "2", 1)), "key", key, "Content-Type", jsonType), jsonType, "{}")
	if got := g.metricOf("headgate_ingest_unknown_fields_total", map[string]string{"signal": "logs"}); got != 5 {
		t.Errorf("%v unknown fields of logs, want 5", got)
	}
	var rows []metering.RefusalCount
	timetest.Eventually(t, "the counts are written", func() bool {
		page, err := g.ledger.UnsafeRefusalsOfAll(t.Context(), metering.RefusalFilter{})
		if err != nil {
			t.Fatal(err)
		}
		rows = page.Rows
		var requests int64
		for _, r := range rows {
			requests += r.Requests
		}
		return requests >= 3
	})
	var fields int64
	for _, r := range rows { // two if an hour ended meanwhile
		fields += r.Records
		if r.TenantID != acme || r.Reason != unknownFields || r.Signal != "logs" || !strings.Contains(r.Text, " fields of the request are not known") {
			t.Errorf("%+v", r)
		}
	}
	if fields != 5 {
		t.Errorf("%d unknown fields of acme, want 5", fields)
	}
	if bill := g.billed(acme); bill.Records != 4 || bill.RejectedRecords != 0 {
		t.Errorf("billed %+v, want 4 records and none rejected", bill)
	}
}
