package ingest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
)

// TestX10NeighbourIsServedBesideBombs: while a crowd sends bombs of every kind, each answered as such or told to come again,
// another tenant's requests are all taken.
func TestX10NeighbourIsServedBesideBombs(t *testing.T) {
	g := start(t, Options{})
	_, hostile := g.tenant("hostile", auth.NewTenant{})
	_, key := g.tenant("neighbour", auth.NewTenant{})
	text := []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}`)
	bombs := [][]byte{
		zipped(t, wrapped(bytes.Repeat([]byte{0x12, 0}, 30<<20), 2, 1)),
		zipped(t, append(text, bytes.Repeat([]byte(",{}"), 20<<20)...)),
		zipped(t, make([]byte, 100<<20)),
	}
	var stop atomic.Bool
	var crowd sync.WaitGroup
	for i := range 48 {
		crowd.Go(func() {
			contentType := protoType
			if i%len(bombs) == 1 {
				contentType = jsonType
			}
			for !stop.Load() {
				a := g.post("/v1/logs", bytes.NewReader(bombs[i%len(bombs)]), "key", hostile, "Content-Type", contentType, "Content-Encoding", "gzip")
				switch a.status {
				case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable:
				default:
					t.Errorf("bomb %d: %d", i%len(bombs), a.status)
				}
			}
		})
	}
	var slowest time.Duration
	for i := range 60 {
		begin := time.Now()
		body := encode(t, logs(1+i), protobuf) // none is a repetition
		want200(t, g.post("/v1/logs", bytes.NewReader(body), "key", key, "Content-Type", protoType), protoType, "")
		slowest = max(slowest, time.Since(begin))
	}
	stop.Store(true)
	crowd.Wait()
	if slowest > 10*time.Second {
		t.Errorf("the neighbour waited %v", slowest)
	}
	t.Logf("the neighbour's slowest request took %v", slowest)
	r := g.server.receiver
	if n := r.budget.inUse(); n != 0 || len(r.small.lines)+len(r.large.lines)+len(r.slow.lines) != 0 {
		t.Errorf("%d bytes, %d small and %d large turns are held at the end", n, len(r.small.lines)+len(r.slow.lines), len(r.large.lines))
	}
}

// TestPromise7MemoryIsBoundedByConfiguration: however many requests come at once, each as large as it may be once its rows
// are made, live memory stays below the budget and what the turns may decode.
func TestPromise7MemoryIsBoundedByConfiguration(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // so that what is live is known often
	opt := Options{MaxBodyBytes: 8 << 20, MaxInFlightBytes: 64 << 20}
	g := start(t, opt)
	var keys []string
	for i := range 3 {
		_, key := g.tenant(fmt.Sprint("t", i), auth.NewTenant{})
		keys = append(keys, key)
	}
	live := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	measure := func() int64 {
		runtimemetrics.Read(live)
		return int64(live[0].Value.Uint64())
	}
	for range 3 { // pools forget in the second
		runtime.GC()
	}
	before, peak := measure(), int64(0)

	var senders, sampler sync.WaitGroup
	done := make(chan struct{})
	sampler.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				peak = max(peak, measure())
			}
		}
	})
	const crowd = 12
	var took, refused atomic.Int32
	for i := range crowd {
		senders.Go(func() {
			for n := range 2 {
				body := expanding(i*100+n, i%2 == 0)
				switch a := g.post("/v1/logs", bytes.NewReader(body), "key", keys[i%len(keys)], "Content-Type", protoType); a.status {
				case http.StatusOK:
					took.Add(1)
				case http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}
	senders.Wait()
	close(done)
	sampler.Wait()
	const clients = crowd * 6 << 20 // the bodies that this process sends
	r := g.server.receiver
	rows := int64(r.small.free+r.slow.free)*(16<<20+3*smallBody) + int64(r.large.free)*(16<<20+3*opt.MaxBodyBytes)
	t.Logf("%d taken, %d refused; live %d MiB before, %d at the peak; bound %d for bodies, %d for rows", took.Load(), refused.Load(), before>>20, peak>>20, opt.MaxInFlightBytes>>20, rows>>20)
	if bound := before + clients + opt.MaxInFlightBytes + rows; peak > bound {
		t.Errorf("%d MiB live, bound %d", peak>>20, bound>>20)
	}
	if took.Load() == 0 {
		t.Error("nothing was taken")
	}
}

// expanding is a request whose rows take as much as the decoder allows: each repeats a resource of 4 KiB. No two with
// different numbers are equal.
func expanding(number int, large bool) []byte {
	attr := func(k string, v []byte) []byte {
		return wrapped(append(wrapped([]byte(k), 1), wrapped(wrapped(v, 1), 2)...), 1)
	}
	pad := 100 << 10
	if large {
		pad = 5 << 20
	}
	record := binary.LittleEndian.AppendUint64([]byte{0x12, 9, 0x09}, uint64(1_790_000_000_000_000_000+number))
	records := bytes.Repeat(record, 10_000)
	padding := wrapped(append([]byte{0x09, 1, 0, 0, 0, 0, 0, 0, 0x10}, wrapped(wrapped(bytes.Repeat([]byte("padding "), pad/8), 1), 5)...), 2)
	resource := wrapped(attr("k", bytes.Repeat([]byte{'v'}, 4<<10)), 1)
	return wrapped(append(resource, wrapped(append(records, padding...), 2)...), 1)
}
