package otlpgen

import (
	"bytes"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func TestRequestsHaveTheRecordsAskedForAndRepeat(t *testing.T) {
	count := map[string]func(b []byte) int{
		"logs": func(b []byte) int {
			v, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(b)
			if err != nil {
				t.Fatal(err)
			}
			return v.LogRecordCount()
		},
		"traces": func(b []byte) int {
			v, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b)
			if err != nil {
				t.Fatal(err)
			}
			return v.SpanCount()
		},
		"metrics": func(b []byte) int {
			v, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(b)
			if err != nil {
				t.Fatal(err)
			}
			return v.DataPointCount()
		},
	}
	for name, make := range map[string]func(uint64, int) []byte{"logs": Logs, "traces": Traces, "metrics": Metrics} {
		for _, n := range []int{0, 1, 999} {
			b := make(7, n)
			if got := count[name](b); got != n {
				t.Errorf("%s: %d records, want %d", name, got, n)
			}
			if !bytes.Equal(b, make(7, n)) {
				t.Errorf("%s: the same seed gives other bytes", name)
			}
		}
		if bytes.Equal(make(7, 10), make(8, 10)) {
			t.Errorf("%s: seeds do not matter", name)
		}
	}
}
