package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestT3KeyBoundToACertificate is made and shown by the commands that people use, and refused at the ports without its certificate.
func TestT3KeyBoundToACertificate(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	type key struct {
		Key          string
		Certificates []string `json:"client_certificates"`
	}
	made := unmarshal[key](t, p.cli("key", "create", "--tenant", "acme", "--scope", "ingest", "--client-cert", "spiffe://acme.example/agent",
		"--client-cert", "dns:agent.acme.example", "--json"))
	if want := []string{"dns:agent.acme.example", "spiffe://acme.example/agent"}; !slices.Equal(made.Certificates, want) {
		t.Errorf("made for %q, want %q", made.Certificates, want)
	}
	p.key("acme", "ingest")
	listed := unmarshal[struct{ Keys []key }](t, p.cli("key", "list", "--json"))
	if n := len(listed.Keys); n != 2 || !slices.Equal(listed.Keys[0].Certificates, made.Certificates) || listed.Keys[1].Certificates == nil {
		t.Errorf("listed: %+v", listed)
	}
	if table := p.cli("key", "list"); !strings.Contains(table, "dns:agent.acme.example,spiffe://acme.example/agent") {
		t.Errorf("table:\n%s", table)
	}
	if _, text, err := p.try("key", "create", "--tenant", "acme", "--scope", "ingest", "--client-cert", "agent"); err == nil || !strings.Contains(err.Error()+text, "want a URI") {
		t.Errorf("no name of a certificate: %v %s", err, text)
	}
	for url, want := range map[string]string{"http://" + p.addr.OTLPHTTP + "/v1/logs": "(key-certificate)", "http://" + p.addr.API + "/api/v1/limits": `"key-certificate"`} {
		method := http.MethodPost
		if strings.Contains(url, "limits") {
			method = http.MethodGet
		}
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + made.Key}}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusForbidden || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %s, %v", url, resp.StatusCode, text, err)
		}
	}
}
