// Package tlstest makes certificates for tests.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Authority signs certificates of one test, for an hour.
type Authority struct {
	Pool *x509.CertPool // of it alone

	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial atomic.Int64

// NewAuthority makes an authority that nobody knows.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	n := serial.Add(1)
	tmpl := template(fmt.Sprintf("authority %d", n), n)
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{x509.NewCertPool(), t, cert, key}
	a.Pool.AddCert(cert)
	return a
}

func template(name string, n int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return block("CERTIFICATE", a.cert.Raw) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Issue makes a certificate, of a client or a server at 127.0.0.1 or, where some are given, of hosts and of what URIs name; and its
// key, in PEM.
func (a *Authority) Issue(name string, hosts ...string) (cert, key []byte) {
	a.t.Helper()
	tmpl := template(name, serial.Add(1))
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if len(hosts) == 0 {
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	for _, host := range hosts {
		if u, err := url.Parse(host); err == nil && u.Scheme != "" {
			tmpl.URIs = append(tmpl.URIs, u)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, host)
		}
	}
	private := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &private.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", raw)
}

// Pair is Issue as package tls has it.
func (a *Authority) Pair(name string, hosts ...string) tls.Certificate {
	a.t.Helper()
	p, err := tls.X509KeyPair(a.Issue(name, hosts...))
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}

// Files is Issue in files. The certificate's ends with that of the authority, so that it can be given to clients too.
func (a *Authority) Files(name string, hosts ...string) (cert, key string) {
	a.t.Helper()
	dir := a.t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			a.t.Fatal(err)
		}
		return path
	}
	c, k := a.Issue(name, hosts...)
	return write("tls.crt", append(c, a.PEM()...)), write("tls.key", k)
}
