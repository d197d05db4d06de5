package jaeger

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/chtest"
)

// generated is how many requests are compared.
func generated(t testing.TB) uint64 { return asktest.Seeds(t, 320) }

// What the spans of the generated store are made of. Tenant b has the same, and canaries.
var (
	genServices   = []string{"api", "cart", "db", "queue/worker", ""}
	genOperations = []string{"GET /cart", "query", "publish", "SELECT * FROM items"}
	genKinds      = []ptrace.SpanKind{0, 1, 2, 3, 4, 5}
)

// town is 240 spans in 60 traces over the hour: each trace is known by its number alone, whoever sends it.
func town() ptrace.Traces {
	td := ptrace.NewTraces()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 240 {
		trace, place := i/4, i%4
		name := genServices[(trace+place/2)%len(genServices)]
		ss := service(td, name, func(m pcommon.Map) {
			m.PutStr("host.name", fmt.Sprintf("host-%d", trace%3))
			if name == "" {
				m.Remove("service.name")
			}
		})
		ss.Scope().SetName([]string{"", "lib", "http"}[trace%3])
		parent := ""
		if place > 0 {
			parent = genSpan(trace, place-1)
		}
		took := time.Duration(r.IntN(1_000_000_000)) * time.Nanosecond
		s := newSpan(ss, genTrace(trace), genSpan(trace, place), parent, genOperations[r.IntN(4)], genKinds[r.IntN(6)], time.Duration(trace*60+place)*time.Second, took)
		s.Attributes().PutInt("http.status_code", int64(200+100*r.IntN(4)))
		s.Attributes().PutBool("cached", r.IntN(2) == 0)
		s.Attributes().PutDouble("ratio", float64(r.IntN(8))/4)
		s.Status().SetCode(ptrace.StatusCode(r.IntN(3)))
		if place == 1 {
			e := s.Events().AppendEmpty()
			e.SetName("retry")
			e.SetTimestamp(s.StartTimestamp())
			e.Attributes().PutInt("attempt", int64(trace%4))
		}
	}
	return td
}

func genTrace(n int) string {
	if n%2 == 0 {
		return fmt.Sprintf("%032x", n+1) // a 64-bit id
	}
	return fmt.Sprintf("%016x%016x", n+1, n+1)
}

func genSpan(trace, place int) string { return fmt.Sprintf("%016x", trace*4+place+1) }

// others sends a's spans once more for its neighbour, and again with canaries in every text: in a's traces, and in their own.
func others(s *store) {
	s.send(chtest.Neighbour, town())
	td := town()
	n := 0
	for _, rs := range td.ResourceSpans().All() {
		rs.Resource().Attributes().PutStr("host.name", canary)
		rs.Resource().Attributes().PutStr(canary, canary)
		if n%3 == 0 {
			rs.Resource().Attributes().PutStr("service.name", canary)
		}
		for _, ss := range rs.ScopeSpans().All() {
			ss.Scope().SetName(canary)
			for _, sp := range ss.Spans().All() {
				n++
				sp.SetName(canary + sp.Name())
				sp.Attributes().PutStr("http.status_code", canary)
				sp.Status().SetMessage(canary)
				sp.Events().AppendEmpty().SetName(canary)
				if n%2 == 0 {
					id := sp.TraceID()
					id[0] = 0xcc
					sp.SetTraceID(id)
				} else {
					sp.SetSpanID(mustSpan(fmt.Sprintf("%016x", 0xcc00+n)))
				}
			}
		}
	}
	s.send(chtest.Neighbour, td)
}

// TestAnswersDoNotDependOnOtherTenants runs many requests on a store with one tenant's spans only and on one with another
// tenant's beside them. Status, headers and body must be the same to the byte, for one who reads a and for one who reads a
// and c, which has spans in a's traces.
func TestAnswersDoNotDependOnOtherTenants(t *testing.T) {
	alone, shared := newStore(t), newStore(t)
	for _, s := range []*store{alone, shared} {
		if s == shared {
			others(s)
		}
		s.send("a", town())
		s.send("c", shop())
		s.send("c", town())
	}
	servers := [][2]*httptest.Server{{alone.serve("a"), shared.serve("a")}, {alone.serve("a", "c"), shared.serve("a", "c")}}
	var mu sync.Mutex // of the tallies
	statuses, spans, n := map[int]int{}, 0, int(generated(t))
	asktest.Each(t, generated(t), func(t *testing.T, seed uint64) {
		path := generate(seed)
		pair := servers[0]
		if seed%5 == 4 {
			pair = servers[1]
		}
		want, got := get(t, pair[0], path), get(t, pair[1], path)
		if want != got {
			t.Errorf("%s\n alone: %.2000v\nshared: %.2000v", path, want, got)
		}
		if strings.Contains(got.body+got.header, canary) && !strings.Contains(path, canary) {
			t.Errorf("%s\ncanary in %.2000v", path, got)
		}
		if got.status >= 500 && got.status != 501 || got.status == 429 || !json.Valid([]byte(got.body)) {
			t.Errorf("%s\nanswered %d %.2000s", path, got.status, got.body)
		}
		mu.Lock()
		defer mu.Unlock()
		statuses[got.status]++
		spans += strings.Count(got.body, `"spanI`)
	})
	t.Logf("answers by status %v, %d spans", statuses, spans)
	if statuses[200] < n/2 || statuses[404] < n/50 || statuses[400] < n/50 || spans < n {
		t.Errorf("too few of the generated requests say something: %v, %d spans", statuses, spans)
	}
}

// generate is a random request, most of them valid.
func generate(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 3))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	v3 := r.IntN(3) == 0
	id := func() string {
		n := r.IntN(75) // some are not there
		s := genTrace(n)
		switch r.IntN(6) {
		case 0:
			s = strings.ToUpper(s)
		case 1:
			s = strings.TrimLeft(s, "0")
		case 2:
			s = strings.Replace(s, "00", "cc", 1) // another tenant's
		case 3:
			s = pick(payment, look, strange, "xyz", "", "cc"+s[2:])
		}
		return s
	}
	at := func() time.Time { return hourStart.Add(time.Duration(r.IntN(3600)) * time.Second) }
	var q []string
	add := func(name string, values ...string) {
		if r.IntN(3) == 0 {
			q = append(q, name, pick(values...))
		}
	}
	tags := func() string {
		m := map[string]string{}
		for range 1 + r.IntN(2) {
			switch r.IntN(9) {
			case 0:
				m["http.status_code"] = pick("200", "300", "400", "500", canary)
			case 1:
				m["error"] = pick("true", "false")
			case 2:
				m["span.kind"] = pick("server", "client", "internal", "other")
			case 3:
				m["host.name"] = pick("host-0", "host-1", canary)
			case 4:
				m["cached"] = pick("true", "false")
			case 5:
				m["ratio"] = pick("0.25", "1", "1.5")
			case 6:
				m["attempt"] = pick("0", "1", "2")
			case 7:
				m["otel.scope.name"] = pick("lib", "http", canary)
			default:
				m[pick("otel.status_code", "tenant_id", "tenant.id", "absent", "otel.status_description")] = pick("OK", "ERROR", "a", "b", "c", "")
			}
		}
		return mustEncode(m)
	}
	prefix := "/jaeger/api/"
	if v3 {
		prefix += "v3/"
	}
	switch k := r.IntN(20); {
	case k == 0:
		return prefix + "services"
	case k <= 2:
		return prefix + "operations" + params("service", pick(slices.Concat(genServices, []string{canary, "nobody"})...), "spanKind", pick("", "", "server", "client", "x"))
	case k == 3 && !v3:
		return prefix + "services/" + pick("api", "cart", "queue%2Fworker", canary, "OTLPResourceNoServiceName") + "/operations"
	case k <= 5 && !v3:
		return prefix + "dependencies" + params("endTs", fmt.Sprint(at().UnixMilli()), "lookback", fmt.Sprint(1+r.IntN(7_200_000)), "service", pick("", "", "api", canary))
	case k <= 9:
		if r.IntN(3) == 0 && !v3 {
			q = append(q, "start", micros(at()), "end", micros(at()))
		}
		return prefix + "traces/" + id() + params(q...)
	case v3:
		from := at()
		q = append(q, "query.start_time_min", from.Format(time.RFC3339Nano), "query.start_time_max", from.Add(time.Duration(r.IntN(3600)+1)*time.Second).Format(time.RFC3339Nano))
		add("query.service_name", slices.Concat(genServices, []string{canary})...)
		add("query.operation_name", genOperations...)
		add("query.duration_min", "100ms", "900ms", "1")
		add("query.num_traces", "1", "3", "50")
		add("query.attributes", tags())
		return prefix + "traces" + params(q...)
	default:
		if r.IntN(10) == 0 {
			for range 1 + r.IntN(4) {
				q = append(q, "traceID", id())
			}
			return prefix + "traces" + params(q...)
		}
		from := at()
		q = append(q, "service", pick(slices.Concat(genServices[:4], []string{noService, canary})...), "start", micros(from), "end", micros(from.Add(time.Duration(r.IntN(3600))*time.Second)))
		add("operation", slices.Concat(genOperations, []string{canary})...)
		add("minDuration", "100ms", "0.5s", "x")
		add("maxDuration", "900ms", "10us")
		add("limit", "1", "2", "20", "1500")
		add("tags", tags())
		add("tag", "http.status_code:500", "error:true", "colon")
		return prefix + "traces" + params(q...)
	}
}
