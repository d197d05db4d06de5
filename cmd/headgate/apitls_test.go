package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
)

// TestAPIUnderTLS: commands of the machine find their server whatever host its certificate is for, and nobody else; a new certificate
// is taken up; plaintext is told that it is at the wrong door.
func TestAPIUnderTLS(t *testing.T) {
	ca := tlstest.NewAuthority(t)
	cert, key := ca.Files("first", "headgate.example")
	p := serveOn(t, t.TempDir(), "--api-tls-cert", cert, "--api-tls-key", key)
	p.cli("tenant", "create", "acme")
	if !strings.Contains(p.out.String(), "https://"+p.addr.API+"/api/v1") {
		t.Errorf("announced as\n%s", p.out.String())
	}
	serial := func() string {
		c, err := tls.Dial("tcp", p.addr.API, &tls.Config{RootCAs: ca.Pool, ServerName: "headgate.example", NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.ConnectionState().NegotiatedProtocol != "h2" {
			t.Errorf("speaks %q", c.ConnectionState().NegotiatedProtocol)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()

	url := "https://" + p.addr.API
	token := p.operatorToken()
	if _, text, err := p.try("tenant", "list", "--api-url", url, "--token", token); err == nil || !strings.Contains(err.Error()+text, "is not trusted") {
		t.Errorf("an authority that the system does not know: %v", err)
	}
	if _, text, err := p.try("tenant", "list", "--api-url", strings.Replace(url, "127.0.0.1", "localhost", 1), "--token", token, "--api-ca", cert); err == nil || !strings.Contains(err.Error()+text, "headgate.example") {
		t.Errorf("a certificate for another host: %v", err)
	}
	resp, err := http.Get("http://" + p.addr.API + "/api/v1/tenants")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 400 || !strings.Contains(string(text), "HTTPS") {
		t.Errorf("plaintext is answered %d %s", resp.StatusCode, text)
	}

	second, secondKey := ca.Issue("second") // for 127.0.0.1
	for file, content := range map[string][]byte{key: secondKey, cert: append(second, ca.PEM()...)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	timetest.Eventually(t, "the new certificate is shown", func() bool {
		c, err := tls.Dial("tcp", p.addr.API, &tls.Config{RootCAs: ca.Pool})
		if err != nil {
			return false
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String() != first
	})
	for _, args := range [][]string{nil, {"--api-url", url, "--token", token, "--api-ca", cert}} {
		if out := p.cli(append([]string{"tenant", "list"}, args...)...); !strings.Contains(out, "acme") {
			t.Errorf("with %q: %s", args, out)
		}
	}

	// SECURITY: what has the port now, with a certificate of the same authority, is not headgate.
	stranger, strangerKey := ca.Files("stranger", "headgate.example")
	if err := os.WriteFile(cert, second, 0o600); err != nil { // its own alone
		t.Fatal(err)
	}
	q := serveOn(t, t.TempDir(), "--api-tls-cert", stranger, "--api-tls-key", strangerKey)
	q.addr.APICert = cert
	if err := (&dataDir{path: q.dir}).publish(q.addr); err != nil {
		t.Fatal(err)
	}
	if _, text, err := q.try("tenant", "list"); err == nil || !strings.Contains(err.Error()+text, "is not trusted") {
		t.Errorf("a stranger at the port: %v %s", err, text)
	}
}
