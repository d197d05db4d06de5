package query

import (
	"fmt"
	"slices"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// canary is in every text of tenant b that tenant a does not have too. It must never come out.
const canary = "canary"

// fill inserts the rows of tenant a and, with others, those of tenant b: all of a's once more and rows with canaries.
// Rows of both lie in the same parts. Times are distinct within a tenant and numbers are sums of powers of two, so that
// answers are exact and their order is total.
func (s *store) fill(others bool) {
	s.t.Helper()
	for _, table := range schema.Tables {
		if table == schema.Profiles {
			continue // no source reads it
		}
		rows := fixture(table)
		for i := range rows {
			rows[i]["TenantId"], rows[i]["Partition"] = "a", chtest.Partition("a")
		}
		if others {
			for _, tenant := range []string{"b", chtest.Neighbour} {
				for _, r := range fixture(table) {
					r["TenantId"], r["Partition"] = tenant, chtest.Partition(tenant)
					rows = append(rows, r)
				}
				for i, r := range fixture(table) {
					r["TenantId"], r["Partition"] = tenant, chtest.Partition(tenant)
					rows = append(rows, poison(r, i))
				}
			}
			// Another tenant's rows come between, not after.
			slices.SortStableFunc(rows, func(a, b row) int { return len(fmt.Sprint(a)) - len(fmt.Sprint(b)) })
		}
		s.insert(table, rows...)
	}
}

// poison puts canaries and odd values into a row of another tenant.
func poison(r row, i int) row {
	for k, v := range r {
		switch v := v.(type) {
		case string:
			if k != "TenantId" && k != "Partition" && !isTime(k) && i%3 != 0 {
				r[k] = canary + v
			}
		case map[string]string:
			m := map[string]string{canary: canary, "color": canary, "size": "not " + canary}
			for k := range v {
				m[k+canary] = canary
			}
			r[k] = m
		}
	}
	return r
}

func isTime(column string) bool {
	return slices.Contains([]string{"Timestamp", "ObservedTimestamp", "EndTimestamp", "TimeUnix", "StartTimeUnix"}, column)
}

var (
	services = []string{"api", "cart", "db"}
	colors   = []string{"red", "green", "blue", ""}
	routes   = []string{"/cart", "/items/{id}", "/"}
)

// fixture is 60 rows of a table, spread over the hour.
func fixture(table string) []row {
	var rows []row
	for i := range 60 {
		attrs := map[string]string{"http.route": routes[i%3], "size": fmt.Sprint(i * 25)}
		if c := colors[i%4]; c != "" {
			attrs["color"] = c
		}
		if i%2 == 0 {
			attrs["http.request.method"], attrs["http.response.status_code"] = "GET", fmt.Sprint(200+100*(i%4))
		}
		resource := map[string]string{"service.name": services[i%3], "host.name": fmt.Sprintf("host-%d", i%5)}
		r := row{"ServiceName": services[i%3], "ResourceAttributes": resource, "ScopeName": "lib", "ScopeAttributes": map[string]string{"s": "1"}}
		when := at(float64(i*60) + 0.5)
		switch table {
		case schema.Logs:
			r["Timestamp"], r["ObservedTimestamp"], r["LogAttributes"] = when, when, attrs
			r["SeverityNumber"], r["SeverityText"] = []int{0, 1, 5, 9, 13, 17, 18, 21}[i%8], []string{"", "INFO"}[i%2]
			r["Body"] = fmt.Sprintf("request %d timed out after %d ms", i, i*4)
			r["TraceId"], r["SpanId"], r["Flags"] = fmt.Sprintf("%032x", i/6), fmt.Sprintf("%016x", i), i%2
		case schema.Traces:
			r["Timestamp"], r["EndTimestamp"], r["Duration"] = when, when, i*31_250_000
			r["SpanAttributes"], r["SpanName"] = attrs, []string{"GET /cart", "query"}[i%2]
			r["SpanKind"], r["StatusCode"] = []string{"Server", "Client", "Internal"}[i%3], []string{"Unset", "Ok", "Error"}[i/2%3]
			r["TraceId"], r["SpanId"] = fmt.Sprintf("%032x", i/6), fmt.Sprintf("%016x", i)
		default:
			// The tables unite in one query: their times must differ too.
			r["TimeUnix"] = at(float64(i*60) + float64(slices.Index(schema.Tables, table)))
			r["Attributes"], r["MetricUnit"] = attrs, "1"
			metricFixture(r, table, i)
		}
		rows = append(rows, r)
	}
	return rows
}

func metricFixture(r row, table string, i int) {
	switch table {
	case schema.MetricsGauge:
		r["MetricName"], r["Value"] = "load", float64(i)/4
	case schema.MetricsSum:
		r["MetricName"], r["ValueInt"], r["IsMonotonic"], r["AggregationTemporality"] = "requests", i*3, i%2 == 0, 1+i%2
	case schema.MetricsHistogram:
		r["MetricName"], r["Count"], r["Sum"], r["Min"] = "latency", i, float64(i)*2.5, 0.5
		r["ExplicitBounds"], r["BucketCounts"] = []float64{1, 5}, []int{1, i, 0}
	case schema.MetricsExponentialHistogram:
		r["MetricName"], r["Count"], r["Scale"], r["PositiveBucketCounts"] = "size", i, 3, []int{i}
	case schema.MetricsSummary:
		r["MetricName"], r["Count"], r["Sum"] = "gc", i, float64(i)
		r["ValueAtQuantiles.Quantile"], r["ValueAtQuantiles.Value"] = []float64{0.5}, []float64{float64(i)}
	}
}
