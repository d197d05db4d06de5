package otlp

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/internal/otlpgen"
)

var signals = []Signal{Logs, Traces, Metrics}

func realistic(sig Signal, seed uint64, records int) []byte {
	return [...]func(uint64, int) []byte{otlpgen.Logs, otlpgen.Traces, otlpgen.Metrics}[sig](seed, records)
}

// bench runs one per signal and size, with bodies as the collector writes them; records/s is what counts.
func bench(b *testing.B, one func(sig Signal, body []byte) error) { benchOn(b, realistic, one) }

func benchOn(b *testing.B, bodyOf func(sig Signal, seed uint64, records int) []byte, one func(sig Signal, body []byte) error) {
	for _, sig := range signals {
		for _, records := range []int{1000, 8192} {
			body := bodyOf(sig, 1, records)
			b.Run(fmt.Sprintf("%s/%d", sig, records), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				start := cpuTime()
				for b.Loop() {
					if err := one(sig, body); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((cpuTime()-start).Nanoseconds())/float64(b.N)/float64(records), "cpu-ns/record")
				b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// cpuTime is what the process has used so far, garbage collection included: steadier than the clock on a busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecode ends with the rows in the decoder's columns.
func BenchmarkDecode(b *testing.B) {
	d, st := NewDecoder(Limits{}), testStamp(b)
	bench(b, func(sig Signal, body []byte) error {
		_, err := d.Decode(sig, body, st)
		return err
	})
}

// BenchmarkDecodeAscending is BenchmarkDecode of bodies as SDKs write them: the fields of each message in ascending order.
// The collector writes them in descending order.
func BenchmarkDecodeAscending(b *testing.B) {
	d, st := NewDecoder(Limits{}), testStamp(b)
	bodyOf := func(sig Signal, seed uint64, records int) []byte {
		return ascending(realistic(sig, seed, records), mRequestLogs+msg(sig))
	}
	benchOn(b, bodyOf, func(sig Signal, body []byte) error {
		_, err := d.Decode(sig, body, st)
		return err
	})
}

func ascending(b []byte, m msg) []byte {
	parts, ok := split(b)
	if !ok {
		panic("BUG: malformed message")
	}
	for i, p := range parts {
		if sub := otlpSchema[m][p.num].sub; sub != leaf {
			parts[i] = p.withBody(ascending(p.body, sub))
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int { return int(a.num - b.num) })
	return join(parts)
}

// BenchmarkDecodeEncode ends with the rows in blocks of their own.
func BenchmarkDecodeEncode(b *testing.B) {
	d, st := NewDecoder(Limits{}), testStamp(b)
	bench(b, func(sig Signal, body []byte) error {
		res, err := d.Decode(sig, body, st)
		for i := range res.Rows {
			res.Rows[i].Encode()
		}
		return err
	})
}

// BenchmarkDecodeAppend ends with the rows in memory that was given, as the gateway does it.
func BenchmarkDecodeAppend(b *testing.B) {
	d, st := NewDecoder(Limits{}), testStamp(b)
	var dst []byte
	bench(b, func(sig Signal, body []byte) error {
		res, err := d.Decode(sig, body, st)
		dst = dst[:0]
		for i := range res.Rows {
			_, dst = res.Rows[i].Append(dst)
		}
		return err
	})
}

func BenchmarkPdataUnmarshal(b *testing.B) {
	bench(b, func(sig Signal, body []byte) (err error) {
		switch sig {
		case Logs:
			_, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(body)
		case Traces:
			_, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(body)
		default:
			_, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(body)
		}
		return err
	})
}
