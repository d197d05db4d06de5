package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/asktest"
)

// Who asks through a trusted proxy is audited under the address that the proxy saw, and nobody else chooses an address.
func TestTrustedProxyTellsWhoAsks(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--trusted-proxy", "127.0.0.0/8"}, "203.0.113.9"},
		{nil, "127.0.0.1"},
	} {
		p := serveOn(t, t.TempDir(), c.args...)
		header := asktest.Bearer(p.operatorToken())
		header.Set("X-Forwarded-For", "198.51.100.1, 203.0.113.9")
		resp, _ := asktest.Do(t, http.MethodPost, "http://"+p.addr.API+"/api/v1/tenants", `{"name":"acme"}`, header)
		if resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
		var audit struct{ Entries []struct{ Address string } }
		if err := json.Unmarshal([]byte(p.cli("audit", "list", "--action", "tenant.create", "--json")), &audit); err != nil {
			t.Fatal(err)
		}
		if len(audit.Entries) != 1 || audit.Entries[0].Address != c.want {
			t.Errorf("%v: %+v, want %s", c.args, audit.Entries, c.want)
		}
	}
	c := DefaultConfig()
	c.TrustedProxies = []string{"proxy.example"}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), `--trusted-proxy: "proxy.example" is no IP address`) {
		t.Errorf("a host name as a proxy: %v", err)
	}
}
