package control

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/headgate-io/headgate/internal/httpapi"
)

// TestClickHouseKeyIsForQueriesAlone: the header of ClickHouse's clients is a credential where telemetry is read, under the rules of
// all others, and none for the control plane.
func TestClickHouseKeyIsForQueriesAlone(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	key, other, ingest := s.key("acme", "query"), s.key("acme", "query"), s.key("acme", "ingest")
	for _, c := range []struct {
		name   string
		header http.Header
		code   string // of the refusal where telemetry is read
	}{
		{"alone", http.Header{"X-Clickhouse-Key": {key}}, ""},
		{"with a user", http.Header{"X-Clickhouse-Key": {key}, "X-Clickhouse-User": {"default"}}, ""},
		{"the same twice", http.Header{"X-Clickhouse-Key": {key, key}, "X-Api-Key": {key}, "Authorization": {"Bearer " + key}}, ""},
		{"empty beside a key", http.Header{"X-Clickhouse-Key": {""}, "Authorization": {"Bearer " + key}}, ""},
		{"of a session", http.Header{"X-Clickhouse-Key": {s.user("acme", "rita@acme.example", "root-admin").Token}}, ""},
		{"empty", http.Header{"X-Clickhouse-Key": {""}}, "credential-missing"},
		{"a user alone", http.Header{"X-Clickhouse-User": {key}}, "credential-missing"},
		{"wrong", http.Header{"X-Clickhouse-Key": {key + "x"}}, "key-unknown"},
		{"of another scope", http.Header{"X-Clickhouse-Key": {ingest}}, "key-scope"},
		{"two of them", http.Header{"X-Clickhouse-Key": {key, other}}, "credential-ambiguous"},
		{"another bearer", http.Header{"X-Clickhouse-Key": {key}, "Authorization": {"Bearer " + other}}, "credential-ambiguous"},
		{"another x-api-key", http.Header{"X-Clickhouse-Key": {key}, "X-Api-Key": {other}}, "credential-ambiguous"},
		{"another session", http.Header{"X-Clickhouse-Key": {key}, "Authorization": {"Bearer hgs_x"}}, "credential-ambiguous"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/query", nil)
		r.Header = c.header
		_, err := AuthenticateQuery(s.api.Directory, r)
		code := ""
		if e, ok := err.(*httpapi.Error); ok {
			code = e.Code
		} else if err != nil {
			t.Errorf("%s: %v is no answer", c.name, err)
		}
		if code != c.code {
			t.Errorf("%s: %q, want %q", c.name, code, c.code)
		}
	}
	for _, header := range []string{"X-ClickHouse-Key", "x-clickhouse-key"} {
		if resp, text := s.request("", "GET", "/api/v1/keys", "", map[string]string{header: s.operator}); resp.StatusCode != 401 {
			t.Errorf("%s reaches the control plane: %d %s", header, resp.StatusCode, text)
		}
	}
}
