package ingest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/metering"
)

// A part of a request is one resource with one scope of it and its records, each in its encoding: log records, spans or metrics.
type part struct {
	resource, scope []byte // all fields of the resource's and the scope's message but the nested ones
	records         [][]byte
}

// parts takes a request of any signal apart: resource_… is field 1, scope_… 2 in it, the records 2 in that.
func parts(t *testing.T, body []byte) (all []part) {
	t.Helper()
	for _, r := range nested(t, body, 1, nil) {
		var p part
		for _, s := range nested(t, r, 2, &p.resource) {
			p.scope = nil
			p.records = nested(t, s, 2, &p.scope)
			all = append(all, p)
		}
	}
	return all
}

// nested returns the messages in a field, and puts the other fields into rest.
func nested(t *testing.T, message []byte, field protowire.Number, rest *[]byte) (found [][]byte) {
	t.Helper()
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeField(message)
		if n < 0 || number != field && rest == nil {
			t.Fatalf("field %d of %d bytes", number, len(message))
		}
		if number == field && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(message)
			inner, _ := protowire.ConsumeBytes(message[tag:])
			found = append(found, inner)
		} else {
			*rest = append(*rest, message[:n]...)
		}
		message = message[n:]
	}
	return found
}

// joined puts parts together, each with a resource of its own.
func joined(all []part) (body []byte) {
	field := func(dst []byte, number protowire.Number, message []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(dst, number, protowire.BytesType), message)
	}
	for _, p := range all {
		scope := slices.Clone(p.scope)
		for _, r := range p.records {
			scope = field(scope, 2, r)
		}
		body = field(body, 1, field(slices.Clone(p.resource), 2, scope))
	}
	return body
}

// ruleOf is the documented size of a request of parts: field is n + 1 + the bytes that it takes to write n, seven bits in each.
//
//	bytes = Σ field(resource + field(scope + Σ field(record)))
func ruleOf(all []part) (sum int) {
	field := func(n int) int {
		length := 1
		for rest := n >> 7; rest > 0; rest >>= 7 {
			length++
		}
		return 1 + length + n
	}
	for _, p := range all {
		scope := len(p.scope)
		for _, r := range p.records {
			scope += field(len(r))
		}
		sum += field(len(p.resource) + field(scope))
	}
	return sum
}

// split makes requests of at most n records each. What is cut in two repeats its resource and its scope.
func split(all []part, n int) (requests [][]part) {
	var now []part
	room := n
	for _, p := range all {
		for len(p.records) > 0 {
			take := min(room, len(p.records))
			now = append(now, part{p.resource, p.scope, p.records[:take]})
			p.records = p.records[take:]
			if room -= take; room == 0 {
				requests, now, room = append(requests, now), nil, n
			}
		}
	}
	if len(now) > 0 {
		requests = append(requests, now)
	}
	return requests
}

// dataset is one set of records.
type dataset struct {
	signal, service string
	body            []byte
	read            func([]byte) (request, error) // for its JSON
}

func datasets() []dataset {
	return []dataset{
		{"logs", "logs.v1.LogsService", otlpgen.Logs(1, 120), func(b []byte) (request, error) { r := plogotlp.NewExportRequest(); return r, r.UnmarshalProto(b) }},
		{"traces", "trace.v1.TraceService", otlpgen.Traces(1, 120), func(b []byte) (request, error) { r := ptraceotlp.NewExportRequest(); return r, r.UnmarshalProto(b) }},
		{"metrics", "metrics.v1.MetricsService", otlpgen.Metrics(1, 120), func(b []byte) (request, error) { r := pmetricotlp.NewExportRequest(); return r, r.UnmarshalProto(b) }},
	}
}

// TestRecordsCostTheSameHoweverTheyAreSent: each set of records over each transport, in each encoding and compression, whole
// and split, is billed exactly what the documented rule says of its uncompressed protobuf.
func TestRecordsCostTheSameHoweverTheyAreSent(t *testing.T) {
	g := start(t, Options{})
	conn, h2 := g.dial(), http2Client(t)
	type way struct {
		name string
		send func(d dataset, key string, body []byte) error
	}
	post := func(client *http.Client, enc encoding, c coding) func(dataset, string, []byte) error {
		return func(d dataset, key string, body []byte) error {
			if enc == jsonEncoding {
				req, err := d.read(body)
				if err != nil {
					return err
				}
				body = encode(t, req, jsonEncoding)
			}
			hr, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.http+"/v1/"+d.signal, bytes.NewReader(c.encode(t, body)))
			if err != nil {
				return err
			}
			hr.Header = http.Header{"Content-Type": {enc.contentType()}, "X-Api-Key": {key}}
			if c.name != "" {
				hr.Header.Set("Content-Encoding", c.name)
			}
			resp, err := client.Do(hr)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d", resp.StatusCode)
			}
			return nil
		}
	}
	var ways []way
	for _, c := range codings {
		ways = append(ways, way{"http protobuf " + c.form, post(http.DefaultClient, protobuf, c)}, way{"http json " + c.form, post(http.DefaultClient, jsonEncoding, c)})
	}
	ways = append(ways, way{"http2 protobuf", post(h2, protobuf, codings[0])}, way{"http2 json zstd", post(h2, jsonEncoding, codings[4])})
	for _, compressor := range []string{"", "gzip", "zstd", "snappy"} {
		ways = append(ways, way{"grpc " + compressor, func(d dataset, key string, body []byte) error {
			opts, answer := []grpc.CallOption{grpc.ForceCodecV2(bytesCodec{})}, []byte(nil)
			if compressor != "" {
				opts = append(opts, grpc.UseCompressor(compressor))
			}
			return conn.Invoke(withKey(t.Context(), key), "/opentelemetry.proto.collector."+d.service+"/Export", body, &answer, opts...)
		}})
	}
	type bill struct{ bytes, requests int64 }
	want := map[string]bill{}
	for _, d := range datasets() {
		whole := parts(t, d.body)
		if rule := ruleOf(whole); rule < len(d.body) { // parts of one resource are together in d.body
			t.Fatalf("%s: the rule says %d of %d bytes", d.signal, rule, len(d.body))
		}
		for _, w := range ways {
			if d.signal != "logs" && !slices.Contains([]string{"http protobuf none", "http protobuf lz4", "http json gzip", "http2 json zstd", "grpc ", "grpc snappy"}, w.name) {
				continue // what is done to bytes does not depend on the signal
			}
			for name, requests := range map[string][][]part{"whole": {whole}, "by 7": split(whole, 7), "one by one": split(whole, 1)} {
				if name == "one by one" && w.name != "grpc " && w.name != "http json none" {
					continue // enough of them
				}
				tenant := strings.NewReplacer(" ", "-").Replace(d.signal + " " + w.name + " " + name)
				id, key := g.tenant(tenant, auth.NewTenant{})
				sum := bill{}
				for _, r := range requests {
					if err := w.send(d, key, joined(r)); err != nil {
						t.Fatalf("%s: %v", tenant, err)
					}
					sum.bytes += int64(ruleOf(r))
					sum.requests++
				}
				want[id+" "+tenant] = sum
			}
		}
	}
	g.flushed()
	usage, err := g.ledger.UnsafeUsageOfAll(t.Context(), metering.Filter{By: metering.ByMonth})
	if err != nil {
		t.Fatal(err)
	}
	billed := map[string]bill{}
	for _, r := range usage.Rows {
		billed[r.TenantID] = bill{r.BilledBytes, r.Requests}
	}
	for tenant, w := range want {
		id, _, _ := strings.Cut(tenant, " ")
		if billed[id] != w {
			t.Errorf("%s: billed %+v, want %+v", tenant, billed[id], w)
		}
	}
}

// TestSplittingCostsTheRepeatedDescriptions and nothing else: the rule, applied to one scope of records.
func TestSplittingCostsTheRepeatedDescriptions(t *testing.T) {
	whole := parts(t, encode(t, logs(100), protobuf))
	if ruleOf(whole) != len(encode(t, logs(100), protobuf)) || len(whole) != 1 {
		t.Fatalf("the rule says %d", ruleOf(whole))
	}
	for _, n := range []int{1, 7, 50, 100} {
		sum, records := 0, 0
		for _, r := range split(whole, n) {
			if len(joined(r)) != ruleOf(r) {
				t.Errorf("%d bytes, the rule says %d", len(joined(r)), ruleOf(r))
			}
			sum += ruleOf(r)
			for _, record := range r[0].records {
				records += len(protowire.AppendBytes([]byte{2<<3 | 2}, record))
			}
		}
		requests := (100 + n - 1) / n
		around := sum - records // descriptions, with two or three bytes for each of their lengths
		own := len(whole[0].resource) + len(whole[0].scope)
		if around < requests*(own+4) || around > requests*(own+8) {
			t.Errorf("by %d: %d bytes are not records, of %d requests with descriptions of %d", n, around, requests, own)
		}
	}
}

// TestRejectedRecordsAreNotBilled: the bill is the request's less each rejected record's field.
func TestRejectedRecordsAreNotBilled(t *testing.T) {
	g := start(t, Options{})
	body := encode(t, spans(2), protobuf)
	want := int64(len(body))
	for _, bad := range parts(t, body)[0].records[:2] {
		want -= int64(len(protowire.AppendBytes([]byte{2<<3 | 2}, bad)))
	}
	for _, enc := range []encoding{protobuf, jsonEncoding} {
		id, key := g.tenant(strings.ReplaceAll(enc.contentType(), "/", "-"), auth.NewTenant{})
		a := g.post("/v1/traces", bytes.NewReader(encode(t, spans(2), enc)), "key", key, "Content-Type", enc.contentType())
		if bill := g.billed(id); a.status != 200 || bill.BilledBytes != want || bill.Records != 1 || bill.RejectedRecords != 2 {
			t.Errorf("%s: %d, billed %+v, want %d bytes of one span", enc.contentType(), a.status, bill, want)
		}
	}
}
