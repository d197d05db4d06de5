package ingest

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/otlpgen"
)

// logsOfIDs are records of which little but ids is known: compressed, their rows are longer than on the wire.
func logsOfIDs(t *testing.T, n int) []byte {
	t.Helper()
	logs, rng := plog.NewLogs(), rand.New(rand.NewPCG(1, 2))
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		r := records.AppendEmpty()
		var id [16]byte
		for i := range id {
			id[i] = byte(rng.Uint32())
		}
		r.SetTraceID(id)
		r.SetSpanID(pcommon.SpanID(id[4:12]))
	}
	body, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestRowsTakeTheMemoryOfTheirBody(t *testing.T) {
	for _, tc := range []struct {
		name string
		sig  otlp.Signal
		body []byte
		fits bool
	}{
		{"logs", otlp.Logs, otlpgen.Logs(1, 500), true},
		{"traces", otlp.Traces, otlpgen.Traces(1, 500), true},
		{"metrics", otlp.Metrics, otlpgen.Metrics(1, 500), true},
		{"one record", otlp.Logs, otlpgen.Logs(1, 1), true},
		{"more rows than body", otlp.Logs, logsOfIDs(t, 500), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stamp := otlp.Stamp{Tenant: someTenant(t), Partition: "shared-00", RetentionDays: 30, Received: time.Unix(1788220800, 0)}
			alone, err := otlp.NewDecoder(otlp.Limits{}).Decode(tc.sig, tc.body, stamp)
			if err != nil {
				t.Fatal(err)
			}
			b := newBudget(1<<30, 1<<30, 1)
			w := &work{receiver: &receiver{budget: b}, hold: b.hold(someTenant(t))}
			if err := w.body.readAll(bytes.NewReader(tc.body), 1<<30, w.take); err != nil {
				t.Fatal(err)
			}
			d := otlp.NewDecoder(otlp.Limits{})
			res, err := d.Decode(tc.sig, w.body.b, stamp)
			if err != nil {
				t.Fatal(err)
			}
			rows := w.encode("shared-00", res.Rows)
			d.Reset() // as when another request is decoded
			if err := w.rest(); err != nil {
				t.Fatal(err)
			}
			var held int64
			for i := range rows {
				want := alone.Rows[i].Encode()
				if got := rows[i].Block; !bytes.Equal(got.Data, want.Data) || got.Rows != want.Rows || got.Columns != want.Columns || got.Raw != want.Raw {
					t.Errorf("%s is encoded otherwise in the memory of its body", rows[i].Table)
				}
				held += int64(len(rows[i].Block.Data))
			}
			if used := b.inUse(); used < held || used < int64(cap(w.body.b)) {
				t.Errorf("%d bytes are held, of a body of %d and rows of %d", used, cap(w.body.b), held)
			}
			if fits := w.beside == 0; fits != tc.fits {
				t.Errorf("%d bytes of rows lie beside a body of %d; want none: %v", w.beside, cap(w.body.b), tc.fits)
			}
			w.leave()
			if b.inUse() != 0 {
				t.Errorf("%d bytes are held at the end", b.inUse())
			}
		})
	}
}
