package ingest

import (
	"bytes"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestEverySeriesIsDescribedOnce sends the same metrics of all five kinds by gRPC, by HTTP and as JSON: the points carry the
// same ids, and otel_metrics_series has each series of each tenant once, and no other. A deletion leaves none.
func TestEverySeriesIsDescribedOnce(t *testing.T) {
	g := start(t, Options{})
	body := otlpgen.Metrics(7, 400)
	req := pmetricotlp.NewExportRequest()
	if err := req.UnmarshalProto(body); err != nil {
		t.Fatal(err)
	}
	json, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, name := range []string{"acme", "globex"} {
		id, key := g.tenant(name, auth.NewTenant{})
		ids[name] = id
		if _, err := pmetricotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), req); err != nil {
			t.Fatal(err)
		}
		if a := g.post("/v1/metrics", bytes.NewReader(body), "key", key, "Content-Type", "application/x-protobuf"); a.status != 200 {
			t.Fatalf("protobuf: %d %s", a.status, a.body)
		}
		if a := g.post("/v1/metrics", bytes.NewReader(json), "key", key, "Content-Type", "application/json"); a.status != 200 {
			t.Fatalf("JSON: %d %s", a.status, a.body)
		}
	}
	g.flushed()
	scan := func(query string) (n uint64) {
		t.Helper()
		if err := g.conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return n
	}
	for name, id := range ids {
		series := uint64(0)
		for _, table := range schema.Tables {
			kind, ok := strings.CutPrefix(table, "otel_metrics_")
			if !ok {
				continue
			}
			of := " FROM " + table + " WHERE TenantId = '" + id + "'"
			n := scan("SELECT uniqExact(SeriesId, toDate(TimeUnix))" + of)
			if n == 0 || scan("SELECT countIf(SeriesId = 0)"+of) != 0 || scan("SELECT count()"+of) != 3*scan("SELECT uniqExact(Attributes, MetricName, ResourceAttributes, TimeUnix, SeriesId)"+of) {
				t.Errorf("%s: points of %s differ by transport or have no id", name, table)
			}
			if got := scan("SELECT uniqExact(MetricName, MetricUnit, Attributes, ResourceAttributes, ScopeName, toDate(TimeUnix))" + of); got != n {
				t.Errorf("%s: %d ids in %s for %d series", name, n, table, got)
			}
			described := " FROM otel_metrics_series FINAL WHERE TenantId = '" + id + "' AND Kind = '" + kind + "'"
			if got := scan("SELECT count()" + described); got != n {
				t.Errorf("%s: %d rows for %d series of %s", name, got, n, kind)
			}
			if got := scan("SELECT count()" + described + " AND (SeriesId, Day) NOT IN (SELECT SeriesId, toDate(TimeUnix)" + of + ")"); got != 0 {
				t.Errorf("%s: %d rows of %s for no series", name, got, kind)
			}
			series += n
		}
		if got := scan("SELECT count() FROM otel_metrics_series FINAL WHERE TenantId = '" + id + "'"); got != series {
			t.Errorf("%s: %d rows for %d series", name, got, series)
		}
	}
	acme, err := tenant.ParseID(ids["acme"])
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.DeleteTenant(t.Context(), g.conn, acme, nil); err != nil {
		t.Fatal(err)
	}
	if n := scan("SELECT count() FROM otel_metrics_series WHERE TenantId = '" + ids["acme"] + "'"); n != 0 {
		t.Errorf("%d series of a deleted tenant", n)
	}
	if n := scan("SELECT count() FROM otel_metrics_series WHERE TenantId = '" + ids["globex"] + "'"); n == 0 {
		t.Error("a neighbour's series are gone")
	}
}
