package auth

import (
	"crypto/x509"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

const agentName = "spiffe://acme.example/agent"

// TestKeyIsTakenWithItsCertificateAlone in this process, in another on the same database, and after a rotation.
func TestKeyIsTakenWithItsCertificateAlone(t *testing.T) {
	storetest.Each(t, testKeyIsTakenWithItsCertificateAlone)
}

func testKeyIsTakenWithItsCertificateAlone(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	k, bound := w.key(NewKey{Tenant: "acme", ClientCertificates: []string{"dns:agent.acme.example", agentName}})
	_, free := w.key(NewKey{Tenant: "acme"})
	if shown, err := w.Keys().Show(t.Context(), w.op, k.ID); err != nil || !slices.Equal(shown.ClientCertificates, []string{"dns:agent.acme.example", agentName}) {
		t.Errorf("shown: %v, %v", shown.ClientCertificates, err)
	}
	check := func(d *Directory) {
		t.Helper()
		for _, c := range []struct {
			text  string
			names []string
			want  error
		}{
			{bound, nil, ErrCertificate},
			{bound, []string{"spiffe://acme.example/agent/2", "spiffe://acme.example"}, ErrCertificate},
			{bound, []string{"sha256:00", agentName}, nil},
			{bound, []string{"dns:agent.acme.example"}, nil},
			{free, nil, nil},
			{free, []string{"spiffe://other.example/agent"}, nil},
			{k.ID, nil, ErrUnknownKey}, // who has no key learns of no binding
		} {
			if _, err := d.AuthenticateWith(c.text, c.names); !errors.Is(err, c.want) {
				t.Errorf("with %q: %v, want %v", c.names, err, c.want)
			}
		}
		if _, err := d.Authenticate(bound); !errors.Is(err, ErrCertificate) {
			t.Errorf("where no certificate is known: %v", err)
		}
	}
	check(w.Directory)
	check(openWorld(t, w.place, w.dir, w.clock).Directory)
	_, bound = w.rotate(w.op, k.ID, 0)
	check(w.Directory)
}

func TestCertificateNamesAreChecked(t *testing.T) {
	hash := "sha256:" + strings.Repeat("0a", 32)
	good := []string{agentName, "https://agents.example/7", "dns:agent.acme.example", hash}
	if got, err := parseCertificates(slices.Concat(good, good)); err != nil || len(got) != len(good) {
		t.Errorf("good ones: %v, %v", got, err)
	}
	for _, bad := range []string{"", "agent", "acme.example", "dns:", "dns:*.acme.example", "dns:Agent.example", "spiffe://", "urn:agent", "spiffe://a b/c",
		"sha256:", "sha256:0a", strings.ToUpper(hash), "SHA256:" + hash[7:], hash + "00", agentName + "\n", agentName + strings.Repeat("x", 255)} {
		if _, err := parseCertificates([]string{bad}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want %v", bad, err, ErrInvalid)
		}
	}
	if _, err := parseCertificates(slices.Repeat([]string{agentName}, maxCertificates+1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("too many: %v", err)
	}
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	for name, n := range map[string]NewKey{
		"bad":                {Tenant: "acme", Scopes: []KeyScope{ScopeIngest}, ClientCertificates: []string{"agent"}},
		"with another scope": {Tenant: "acme", Scopes: []KeyScope{ScopeIngest, ScopeQuery}, ClientCertificates: []string{agentName}},
	} {
		if _, _, err := w.Keys().Create(t.Context(), w.op, n); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, ErrInvalid)
		}
	}
}

// A URI of a certificate is never taken for a name of another kind.
func TestURIsOfCertificatesAreNoOtherNames(t *testing.T) {
	c := &x509.Certificate{Raw: []byte("x"), DNSNames: []string{"Agent.Example"}}
	for _, s := range []string{agentName, "dns:victim.example", "sha256:" + strings.Repeat("0a", 32), "urn:x"} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	}
	got := CertificateNames(c)
	if !slices.Equal(got[1:], []string{agentName, "dns:agent.example"}) || got[0] != "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" {
		t.Errorf("names %q", got)
	}
}
