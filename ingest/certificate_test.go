package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
)

// boundKey makes a key that is bound to certificates.
func (g *gateway) boundKey(tenant string, certificates ...string) string {
	g.t.Helper()
	_, text, err := g.directory.Keys().Create(g.t.Context(), g.operator, auth.NewKey{
		Tenant: tenant, Scopes: []auth.KeyScope{auth.ScopeIngest}, ClientCertificates: certificates,
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return text
}

// TestT3KeysAreTakenWithTheirCertificateAlone: a key that is bound is refused on connections of other certificates, on every
// transport and where a session is resumed, and one that is not bound is taken as ever.
func TestT3KeysAreTakenWithTheirCertificateAlone(t *testing.T) {
	ca, clients, dir := tlstest.NewAuthority(t), tlstest.NewAuthority(t), &secretDir{t: t, dir: t.TempDir()}
	cert, key := ca.Issue("server")
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": clients.PEM()})
	g := start(t, Options{TLS: dir.options("ca.crt")})
	_, unbound := g.tenant("acme", auth.NewTenant{})
	own := clients.Pair("agent", "spiffe://acme.example/agent", "Agent.acme.example")
	// The same name, the name as another kind, and a part of it.
	other := clients.Pair("agent", "spiffe://acme.example/agent/2", "spiffe.acme.example", "dns:agent.acme.example", "acme.example")
	keys := map[string]bool{
		unbound: true,
		g.boundKey("acme", "spiffe://acme.example/agent"):                                  false,
		g.boundKey("acme", "dns:agent.acme.example"):                                       false,
		g.boundKey("acme", fmt.Sprintf("sha256:%x", sha256.Sum256(own.Certificate[0]))):    false,
		g.boundKey("acme", "spiffe://acme.example/none", "spiffe://acme.example/agent"):    false,
		g.boundKey("acme", "spiffe://acme.example/agent", "spiffe://acme.example/agent/2"): true,
	}
	addr, raw := strings.TrimPrefix(g.http, "http://"), encode(t, logs(1), protobuf)
	for name, c := range map[string]tls.Certificate{"own": own, "other": other} {
		cfg := &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{c}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		resumed := false
		for key, others := range keys {
			taken := name == "own" || others
			for _, h2 := range []bool{false, true} {
				a, again := askTLS(t, httpsClient(t, h2, cfg), addr, key, raw)
				resumed = resumed || again
				if taken {
					want200(t, a, protoType, "")
				} else {
					wantStatus(t, a, http.StatusForbidden, protoType, "key-certificate")
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			err := exportTLS(ctx, g.grpc, key, cfg)
			cancel()
			if st := status.Convert(err); taken && err != nil || !taken && (st.Code() != codes.PermissionDenied || !strings.Contains(st.Message(), "(key-certificate)")) {
				t.Errorf("%s certificate over gRPC, taken %v: %v", name, taken, err)
			}
		}
		if !resumed {
			t.Errorf("%s certificate: no session was resumed", name)
		}
	}
}

// askTLS sends one request, and tells whether its connection resumed a session.
func askTLS(t *testing.T, client *http.Client, addr, key string, body []byte) (a answer, resumed bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr+"/v1/logs", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {protoType}, "Authorization": {"Bearer " + key}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, text}, resp.TLS.DidResume
}

// TestT3BoundKeysAreRefusedWithoutTLS, and where no certificate is asked for: one that a client shows unasked was verified by nobody.
func TestT3BoundKeysAreRefusedWithoutTLS(t *testing.T) {
	g := start(t, Options{})
	g.tenant("acme", auth.NewTenant{})
	bound := g.boundKey("acme", "spiffe://acme.example/agent")
	wantStatus(t, g.post("/v1/logs", strings.NewReader("{}"), "key", bound, "Content-Type", jsonType), http.StatusForbidden, jsonType, "key-certificate")
	if a := callGRPC(t, "http://"+g.grpc, bytes.NewReader(prefixed(0, nil)), "key", bound); a.code != codes.PermissionDenied {
		t.Errorf("over gRPC: %v %s", a.code, a.message)
	}

	ca, dir := tlstest.NewAuthority(t), &secretDir{t: t, dir: t.TempDir()}
	cert, key := ca.Issue("server")
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key})
	g = start(t, Options{TLS: dir.options("")})
	g.tenant("acme", auth.NewTenant{})
	bound = g.boundKey("acme", "spiffe://acme.example/agent")
	cfg := &tls.Config{RootCAs: ca.Pool, Certificates: []tls.Certificate{ca.Pair("agent", "spiffe://acme.example/agent")}}
	a, _ := askTLS(t, httpsClient(t, false, cfg), strings.TrimPrefix(g.http, "http://"), bound, encode(t, logs(1), protobuf))
	wantStatus(t, a, http.StatusForbidden, protoType, "key-certificate")
}
