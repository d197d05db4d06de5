package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestH29KeyForPagesOfOneOrigin is made, shown and held by the commands and the port that people use.
func TestH29KeyForPagesOfOneOrigin(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	made := unmarshal[struct {
		Key     string
		Origins []string `json:"cors_origins"`
	}](t, p.cli("key", "create", "--tenant", "acme", "--scope", "ingest", "--cors-origin", "https://shop.example",
		"--cors-origin", "https://app.example", "--json"))
	if got := strings.Join(made.Origins, " "); got != "https://app.example https://shop.example" {
		t.Errorf("made for %q", got)
	}
	plain := p.key("acme", "ingest")
	listed := unmarshal[struct {
		Keys []struct {
			Origins []string `json:"cors_origins"`
		}
	}](t, p.cli("key", "list", "--json"))
	if n := len(listed.Keys); n != 2 || len(listed.Keys[0].Origins) != 2 || listed.Keys[1].Origins == nil {
		t.Errorf("listed: %+v", listed)
	}
	if table := p.cli("key", "list"); !strings.Contains(table, "https://app.example,https://shop.example") {
		t.Errorf("table:\n%s", table)
	}
	if _, text, err := p.try("key", "create", "--tenant", "acme", "--scope", "ingest", "--cors-origin", "app.example"); err == nil || !strings.Contains(err.Error()+text, "scheme://host") {
		t.Errorf("a host as an origin: %v %s", err, text)
	}
	for _, c := range []struct {
		key, origin string
		want        int
	}{
		{made.Key, "https://app.example", 200}, {made.Key, "https://evil.example", 403}, {made.Key, "", 200}, {plain, "https://evil.example", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addr.OTLPHTTP+"/v1/logs", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "X-Api-Key": {c.key}, "Origin": {c.origin}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("from %q: %d, want %d", c.origin, resp.StatusCode, c.want)
		}
	}
}
