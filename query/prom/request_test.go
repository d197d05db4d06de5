package prom

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestRequestsOfGrafana sends what Grafana's Prometheus data source documents that it sends.
func TestRequestsOfGrafana(t *testing.T) {
	d := newDatabase(t)
	d.fill("a")
	srv := d.serve(t, Options{}, "a")
	for _, c := range []struct{ method, path, params, want string }{
		{"POST", "/api/v1/query", "query=1%2B1&time=1741089600", `{"status":"success","data":{"resultType":"scalar","result":[1741089600,"2"]}}`},
		{"GET", "/api/v1/status/buildinfo", "", `"version":"3.15.0"`},
		{"GET", "/api/v1/label/__name__/values", "start=1741086000&end=1741089600&match[]=%7Bjob%3D%22shop%2Fcart%22%2C__name__%3D~%22mem.*%22%7D", `{"status":"success","data":["memory_usage_bytes"]}`},
		{"POST", "/api/v1/labels", "start=1741086000&end=1741089600&match[]=memory_usage_bytes", `{"status":"success","data":["__name__","http_route","instance","job","otel_scope_name","otel_scope_version"]}`},
		{"POST", "/api/v1/labels", "start=1741086000&end=1741089600&limit=2", `{"status":"success","data":["__name__","host_name"],"warnings":["results truncated due to limit"]}`},
		{"GET", "/api/v1/metadata", "limit=1", `{"status":"success","data":{"gc_seconds":[{"type":"summary","help":"","unit":"seconds"}]}}`},
		{"POST", "/api/v1/query_range", "query=sum(http_requests_total)&start=1741089300&end=1741089600&step=300", `"values":[[1741089300,"3240"],[1741089600,"3540"]]`},
		{"POST", "/api/v1/query_exemplars", "query=http_requests_total&start=1741089540&end=1741089600", `"exemplars":[{"labels":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user":"u"},"value":"1","timestamp":1741089540}`},
		{"GET", "/api/v1/rules", "", `{"status":"success","data":{"groups":[]}}`},
		{"POST", "/api/v1/query", "query=histogram_sum(size_bytes)", `"295"`},
		{"POST", "/api/v1/query", "query=size_bytes", `"histogram":[1741089600,{"count":"177","sum":"295","buckets":[[0,"1","2","59"],[0,"2","4","118"]]}]`},
	} {
		params, err := url.ParseQuery(c.params)
		if err != nil {
			t.Fatal(err)
		}
		got := ask(t, srv, c.method, c.path, params)
		if got.status != http.StatusOK || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s %s = %v, want %s", c.method, c.path, c.params, got, c.want)
		}
	}
}

// TestRefusals: what is wrong is answered in Prometheus' form, with its status.
func TestRefusals(t *testing.T) {
	d := newDatabase(t)
	d.fill("a")
	srv := d.serve(t, Options{Limits: Limits{MaxSamples: 500, MaxSeries: 5}}, "a")
	for _, c := range []struct {
		method, path, params string
		status               int
		kind                 string
	}{
		{"GET", "/federate", "match[]=up", 404, "not_found"},
		{"GET", "/federate/values", "", 404, "not_found"},
		{"GET", "/api/v1/read", "", 404, "not_found"},
		{"POST", "/api/v1/write", "", 404, "not_found"},
		{"POST", "/api/v1/admin/tsdb/delete_series", "match[]=up", 404, "not_found"},
		{"GET", "/api/v1/status/config", "", 404, "not_found"},
		{"GET", "/api/v1/targets", "", 404, "not_found"},
		{"DELETE", "/api/v1/series", "match[]=up", 405, "bad_data"},
		{"POST", "/api/v1/metadata", "", 405, "bad_data"},
		{"GET", "/api/v1/query", "query=up%7B", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=up&time=x", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=up&time=NaN", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=up&limit=-1", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=up%5B1y:1ms%5D&stats=all", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=max_over_time(up%5B10m:1m%5D)%5B290y:1m%5D", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=up&timeout=soon", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=up&timeout=0", 503, "timeout"},
		{"GET", "/api/v1/query_range", "query=up&start=0&end=11001&step=1", 400, "bad_data"},
		{"GET", "/api/v1/query_range", "query=up&start=0&end=1&step=0", 400, "bad_data"},
		{"GET", "/api/v1/query_range", "query=up&start=0&end=1&step=1e-9", 400, "bad_data"},
		{"GET", "/api/v1/query_range", "query=up&start=1&end=0&step=1", 400, "bad_data"},
		{"GET", "/api/v1/series", "", 400, "bad_data"},
		{"GET", "/api/v1/series", "match[]=%7Ba%3D~%22.*%22%7D", 400, "bad_data"},
		{"GET", "/api/v1/label/%FF/values", "", 400, "bad_data"},
		{"GET", "/api/v1/query", "query=" + strings.Repeat("a", maxQueryBytes+1), 400, "bad_data"},
		{"GET", "/api/v1/query", "query=memory_usage_bytes+*+on()+group_left()+%7Bjob%3D%22shop%2Fcart%22%7D", 422, "execution"},
		{"GET", "/api/v1/query", "query=count_over_time(%7B__name__%3D~%22http_s.*%22%7D%5B1h%5D)+or+count_over_time(%7B__name__%3D~%22gc.*%22%7D%5B1h%5D)", 422, "execution"},
		{"GET", "/api/v1/query", "query=%7Bjob%3D%22shop%2Fcart%22%7D", 422, "execution"},
	} {
		params, err := url.ParseQuery(c.params)
		if err != nil {
			t.Fatal(err)
		}
		got := ask(t, srv, c.method, c.path, params)
		var doc struct{ Status, ErrorType, Error string }
		if err := json.Unmarshal([]byte(got.body), &doc); err != nil {
			t.Errorf("%s: %v: %s", c.path, err, got.body)
		}
		if got.status != c.status || doc.Status != "error" || doc.ErrorType != c.kind || doc.Error == "" {
			t.Errorf("%s %s %.100s = %v, want %d %s", c.method, c.path, c.params, got, c.status, c.kind)
		}
	}
}

// FuzzParameters: whatever the parameters are, the answer is JSON in the envelope and no failure of headgate.
func FuzzParameters(f *testing.F) {
	d := newDatabase(f)
	d.fill("a")
	srv := d.serve(f, Options{Limits: Limits{MaxSamples: 100_000}}, "a")
	for _, s := range []string{"query=up", "query=rate(http_requests_total[5m])&time=1741089600", "query=up&start=-1e300&end=1e300&step=1", "match[]=%7Ba%3D%22%00%5C%22%7D", "limit=99999999999999999999", "query=x[1y:1ms]&stats=all"} {
		for i := range uint8(8) {
			f.Add(i, s)
		}
	}
	paths := []string{"query", "query_range", "series", "labels", "label/" + canary + "/values", "metadata", "query_exemplars", "parse_query"}
	f.Fuzz(func(t *testing.T, path uint8, text string) {
		params, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		got := ask(t, srv, http.MethodGet, "/api/v1/"+paths[int(path)%len(paths)], params)
		var doc struct{ Status string }
		if err := json.Unmarshal([]byte(got.body), &doc); err != nil || doc.Status == "" || got.status == http.StatusInternalServerError {
			t.Errorf("%s %q = %v, %v", paths[int(path)%len(paths)], text, got, err)
		}
	})
}
