package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
)

// spanOf is one span of this minute, as OTLP/JSON.
func spanOf(trace, text string) string {
	now := time.Now().UnixNano()
	return fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
		"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"00f067aa0ba902b7","name":%q,"kind":2,"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`,
		trace, text, now, now+1_000_000)
}

// TestJaegerAsksWithAKey: over real sockets, with every kind of credential, each tenant sees its own spans of a trace id that
// both have, and nobody sees anything without a key.
func TestJaegerAsksWithAKey(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	p.cli("tenant", "create", "globex")
	acme, globex := p.key("acme", "ingest", "query"), p.key("globex", "ingest", "query")
	ingestOnly := p.key("acme", "ingest")
	const both, own = "0af7651916cd43dd8448eb211c80319c", "11111111111111111111111111111111"
	p.mustPost("/v1/traces", acme, spanOf(both, "acme's"))
	p.mustPost("/v1/traces", globex, spanOf(both, "globex's"))
	p.mustPost("/v1/traces", globex, spanOf(own, "globex's secret"))
	p.flushed()

	ask := func(path string, header map[string]string) (int, string, http.Header) {
		t.Helper()
		h := http.Header{}
		for k, v := range header {
			h.Set(k, v)
		}
		resp, text := asktest.Do(t, http.MethodGet, "http://"+p.addr.API+"/jaeger/api/"+path, "", h)
		return resp.StatusCode, text, resp.Header
	}
	bearer := func(key string) map[string]string { return map[string]string{"Authorization": "Bearer " + key} }
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("anyone:"+acme))

	for name, header := range map[string]map[string]string{"bearer": bearer(acme), "basic": {"Authorization": basic}, "x-api-key": {"X-Api-Key": acme}, "x-clickhouse-key": {"X-ClickHouse-Key": acme, "X-ClickHouse-User": "default"},
		"another's tenant header": {"Authorization": "Bearer " + acme, "X-Scope-OrgID": "globex"}} {
		for path, mark := range map[string]string{"traces/" + both: `"data"`, "v3/traces/" + both: `"result"`, "traces?service=shop&lookback=1h": `"data"`} {
			status, text, _ := ask(path, header)
			if status != 200 || !json.Valid([]byte(text)) || !strings.Contains(text, mark) || !strings.Contains(text, "acme's") || strings.Contains(text, "globex") {
				t.Errorf("%s as %s: %d %s", path, name, status, text)
			}
		}
	}
	if status, text, _ := ask("traces/"+both, bearer(globex)); status != 200 || !strings.Contains(text, "globex's") || strings.Contains(text, "acme") {
		t.Errorf("globex's own: %d %s", status, text)
	}
	status, foreign, _ := ask("traces/"+own, bearer(acme))
	if s, absent, _ := ask("traces/22222222222222222222222222222222", bearer(acme)); status != 404 || s != status || foreign != absent {
		t.Errorf("a foreign trace: %d %s, one that is not there: %d %s", status, foreign, s, absent)
	}
	for name, c := range map[string]struct {
		header map[string]string
		status int
	}{
		"no key": {nil, 401}, "a wrong key": {bearer(acme + "x"), 401}, "a tenant's name": {map[string]string{"X-Scope-OrgID": "acme"}, 401}, "a key without the scope": {bearer(ingestOnly), 403},
	} {
		for path, mark := range map[string]string{"services": `"errors":[{"code":`, "traces/" + both: `"errors":[{"code":`, "v3/services": `{"error":{"httpCode":`, "nothing": `"errors":[{"code":`} {
			status, text, h := ask(path, c.header)
			if status != c.status || !strings.Contains(text, mark) || strings.Contains(text, "shop") || (status == 401) != (h.Get("WWW-Authenticate") != "") {
				t.Errorf("%s with %s: %d %s %v", path, name, status, text, h)
			}
		}
	}
}
