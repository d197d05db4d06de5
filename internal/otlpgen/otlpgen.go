// Package otlpgen makes realistic OTLP export requests for tests and benchmarks, in protobuf, by the collector's own
// encoder. Equal arguments give equal bytes.
//
// A request is what a collector's batch looks like: 20 services with 13 to 15 resource attributes each, records of one
// instrumentation scope in runs of about 50, bodies and attribute values with the variety of production telemetry.
package otlpgen

import (
	"fmt"
	"math/rand/v2"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

const (
	services      = 20
	recordsPerRun = 50
)

// start is the time of the first record, 2026-09-01T00:00:00Z. Records follow within minutes of it.
const start = 1788220800_000000000

// maker is the source of everything random.
type maker struct {
	*rand.Rand
	now uint64
}

func newMaker(seed uint64) *maker {
	return &maker{Rand: rand.New(rand.NewPCG(seed, 0x68656164)), now: start + seed%600*1e9}
}

// tick returns the next record's time.
func (m *maker) tick() pcommon.Timestamp {
	m.now += m.Uint64N(3e6)
	return pcommon.Timestamp(m.now)
}

func (m *maker) pick(list []string) string { return list[m.IntN(len(list))] }

func (m *maker) traceID() (id pcommon.TraceID) {
	for i := range id {
		id[i] = byte(m.Uint32())
	}
	return id
}

func (m *maker) spanID() (id pcommon.SpanID) {
	for i := range id {
		id[i] = byte(m.Uint32())
	}
	return id
}

var (
	serviceNames = []string{
		"checkout", "cart", "payment", "frontend", "recommendation", "shipping", "quote", "email", "currency", "ad",
		"product-catalog", "inventory", "fraud-detection", "accounting", "image-provider", "flagd", "search", "session",
		"gateway", "notification",
	}
	languages = []string{"go", "java", "python", "nodejs", "dotnet"}
	zones     = []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"}
	methods   = []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	routes    = []string{
		"/api/cart", "/api/checkout", "/api/products/{id}", "/api/recommendations", "/api/data", "/api/currency", "/healthz",
		"/api/orders/{id}/items", "/login", "/static/{file}",
	}
	statuses = []int64{200, 200, 200, 200, 200, 201, 204, 301, 400, 404, 429, 500, 503}
	verbs    = []string{"processed", "accepted", "rejected", "retried", "queued", "completed", "failed to process"}
	objects  = []string{"order", "payment", "cart item", "shipment", "session", "quote request", "recommendation batch"}
)

// resource describes a pod of service i.
func (m *maker) resource(i int, r pcommon.Resource) {
	name := serviceNames[i%services]
	pod := m.IntN(6)
	a := r.Attributes()
	a.PutStr("service.name", name)
	a.PutStr("service.version", fmt.Sprintf("1.%d.%d", i%7, i%13))
	a.PutStr("service.namespace", "shop")
	a.PutStr("service.instance.id", fmt.Sprintf("%s-%08x", name, i*7919+pod))
	a.PutStr("deployment.environment.name", "production")
	a.PutStr("k8s.cluster.name", "prod-eu-1")
	a.PutStr("k8s.namespace.name", "shop")
	a.PutStr("k8s.deployment.name", name)
	a.PutStr("k8s.pod.name", fmt.Sprintf("%s-7d9c5b8f6-%05x", name, i*31+pod))
	a.PutStr("k8s.node.name", fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i%4, pod*17+i))
	a.PutStr("cloud.availability_zone", zones[(i+pod)%len(zones)])
	a.PutStr("telemetry.sdk.language", languages[i%len(languages)])
	a.PutStr("telemetry.sdk.version", "1.39.0")
	if i%3 > 0 {
		a.PutStr("host.arch", "amd64")
	}
	if i%3 > 1 {
		a.PutInt("process.pid", int64(1+pod))
	}
}

func (m *maker) scope(i int, s pcommon.InstrumentationScope) {
	s.SetName("github.com/example/shop/" + serviceNames[i%services])
	s.SetVersion("0.12.1")
}

// attributes adds n of the attributes that requests have, in one order.
func (m *maker) attributes(n int, a pcommon.Map) {
	a.EnsureCapacity(n)
	a.PutStr("http.request.method", m.pick(methods))
	a.PutStr("url.path", m.pick(routes))
	a.PutInt("http.response.status_code", statuses[m.IntN(len(statuses))])
	a.PutStr("client.address", fmt.Sprintf("10.%d.%d.%d", m.IntN(4), m.IntN(256), m.IntN(256)))
	a.PutStr("user.id", fmt.Sprintf("user-%06d", m.IntN(50000)))
	rest := []func(){
		func() { a.PutDouble("duration_ms", float64(m.IntN(200000))/100) },
		func() { a.PutStr("thread.name", fmt.Sprintf("worker-%d", m.IntN(16))) },
		func() { a.PutStr("code.function.name", "Service."+m.pick(verbs)) },
		func() { a.PutBool("feature.enabled", m.IntN(2) == 0) },
		func() { a.PutStr("order.id", fmt.Sprintf("%08x-%04x", m.Uint32(), m.Uint32()&0xffff)) },
	}
	for _, put := range rest[:max(0, n-5)] {
		put()
	}
}

// runs calls one for each of n records, with the number of the run that it is in and whether it begins it.
func (m *maker) runs(n int, one func(run int, first bool)) {
	for i := range n {
		one(i/recordsPerRun, i%recordsPerRun == 0)
	}
}
