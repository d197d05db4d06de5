package main

import "testing"

// TestRequestsSentAgainAreStoredOnceUnlessKept sends one request three times for two tenants, one of which keeps resends.
func TestRequestsSentAgainAreStoredOnceUnlessKept(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "once")
	p.cli("tenant", "create", "kept", "--keep-resends")
	body := record("again")
	for tenant, want := range map[string]int{"once": 1, "kept": 3} {
		key := p.key(tenant, "ingest", "query")
		for range 3 {
			p.mustPost("/v1/logs", key, body)
		}
		p.flushed()
		if got := unmarshal[struct{ Count int }](t, p.cli("query", "--key", key, "--format", "ndjson", "logs | count")).Count; got != want {
			t.Errorf("tenant %s has %d rows, want %d", tenant, got, want)
		}
	}
}
