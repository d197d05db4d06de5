package ingest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	grpccredentials "google.golang.org/grpc/credentials"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/internal/tlsfiles"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
)

// secretDir is a directory as Kubernetes mounts a secret: the names are links through ..data, which moves at once.
type secretDir struct {
	t   *testing.T
	dir string
	n   int
}

func (s *secretDir) path(name string) string { return filepath.Join(s.dir, name) }

func (s *secretDir) swap(files map[string][]byte) {
	s.t.Helper()
	s.n++
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	version := fmt.Sprintf("..v%d", s.n)
	check(os.Mkdir(s.path(version), 0o700))
	for name, content := range files {
		check(os.WriteFile(filepath.Join(s.dir, version, name), content, 0o600))
		if s.n == 1 {
			check(os.Symlink(filepath.Join("..data", name), s.path(name)))
		}
	}
	check(os.Symlink(version, s.path("..data_tmp")))
	check(os.Rename(s.path("..data_tmp"), s.path("..data")))
}

func (s *secretDir) options(ca string) tlsfiles.Options {
	o := tlsfiles.Options{CertFile: s.path("tls.crt"), KeyFile: s.path("tls.key"), ReloadEvery: 10 * time.Millisecond}
	if ca != "" {
		o.ClientCAFile = s.path(ca)
	}
	return o
}

// httpsClient makes a client of one protocol version; each of its requests has its own connection.
func httpsClient(t *testing.T, h2 bool, cfg *tls.Config) *http.Client {
	var p http.Protocols
	p.SetHTTP2(h2)
	p.SetHTTP1(!h2)
	tr := &http.Transport{Protocols: &p, TLSClientConfig: cfg.Clone(), DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func postTLS(ctx context.Context, client *http.Client, addr, key string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+addr+"/v1/logs", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{"Content-Type": {protoType}, "Authorization": {"Bearer " + key}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

func exportTLS(ctx context.Context, addr, key string, cfg *tls.Config) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(grpccredentials.NewTLS(cfg)))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = plogotlp.NewGRPCClient(conn).Export(withKey(ctx, key), logs(1))
	return err
}

func TestT1BothPortsSpeakTLS(t *testing.T) {
	ca, dir := tlstest.NewAuthority(t), &secretDir{t: t, dir: t.TempDir()}
	cert, key := ca.Issue("one")
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key})
	g := start(t, Options{TLS: dir.options("")})
	_, apiKey := g.tenant("acme", auth.NewTenant{})
	addr, raw := strings.TrimPrefix(g.http, "http://"), encode(t, logs(1), protobuf)
	for _, h2 := range []bool{false, true} {
		resp, err := postTLS(t.Context(), httpsClient(t, h2, &tls.Config{RootCAs: ca.Pool}), addr, apiKey, raw)
		if err != nil || resp.StatusCode != 200 || (resp.ProtoMajor == 2) != h2 || resp.TLS.Version != tls.VersionTLS13 {
			t.Errorf("https, h2 %v: %+v, %v", h2, resp, err)
		}
	}
	if err := exportTLS(t.Context(), g.grpc, apiKey, &tls.Config{RootCAs: ca.Pool}); err != nil {
		t.Errorf("grpc: %v", err)
	}
	for _, a := range []string{addr, g.grpc} {
		for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true} {
			c, err := tls.Dial("tcp", a, &tls.Config{RootCAs: ca.Pool, MinVersion: tls.VersionTLS10, MaxVersion: version, NextProtos: []string{"h2"}})
			if (err == nil) != want {
				t.Errorf("%s with TLS %x: %v", a, version, err)
			}
			if err == nil {
				if p := c.ConnectionState().NegotiatedProtocol; p != "h2" {
					t.Errorf("%s: ALPN %q", a, p)
				}
				_ = c.Close()
			}
		}
		plain := dialRaw(t, a)
		fmt.Fprint(plain, "POST /v1/logs HTTP/1.1\r\nHost: x\r\n\r\n")
		text, err := io.ReadAll(plain)
		if err != nil || !strings.Contains(string(text), "this port speaks TLS") {
			t.Errorf("plaintext to %s: %q, %v", a, text, err)
		}
	}
}

// TestT2CertificatesAreSwappedUnderLoad: no request fails while the files change, a pair that does not fit changes nothing,
// and new connections soon see the new certificate.
func TestT2CertificatesAreSwappedUnderLoad(t *testing.T) {
	ca, dir := tlstest.NewAuthority(t), &secretDir{t: t, dir: t.TempDir()}
	cert, key := ca.Issue("first")
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key})
	g := start(t, Options{TLS: dir.options("")})
	_, apiKey := g.tenant("acme", auth.NewTenant{})
	addr, raw := strings.TrimPrefix(g.http, "http://"), encode(t, logs(1), protobuf)
	roots := &tls.Config{RootCAs: ca.Pool}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	load, stop := context.WithCancel(ctx)
	for _, h2 := range []bool{false, true} {
		client := httpsClient(t, h2, roots)
		wg.Go(func() {
			for load.Err() == nil {
				if resp, err := postTLS(ctx, client, addr, apiKey, raw); err != nil || resp.StatusCode != 200 {
					t.Errorf("during a swap: %+v, %v", resp, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for load.Err() == nil {
			if err := exportTLS(ctx, g.grpc, apiKey, roots); err != nil {
				t.Errorf("grpc during a swap: %v", err)
				return
			}
		}
	})
	serves := func(a string) string {
		c, err := tls.Dial("tcp", a, roots)
		if err != nil {
			t.Fatalf("dial %s: %v", a, err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, name := range []string{"second", "third"} {
		seen := g.metric("headgate_tls_reload_failures_total")
		_, foreign := ca.Issue("foreign")
		dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": foreign})
		timetest.Eventually(t, "the bad pair is seen", func() bool { return g.metric("headgate_tls_reload_failures_total") > seen })
		before := serves(addr)
		if name == "second" && before != "first" {
			t.Errorf("after a bad pair: %q", before)
		}
		cert, key = ca.Issue(name)
		dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key})
		timetest.Eventually(t, name+" is served", func() bool { return serves(addr) == name && serves(g.grpc) == name })
	}
	stop()
	wg.Wait()
}

// TestT3ClientsMustShowACertificate, of an authority that may change.
func TestT3ClientsMustShowACertificate(t *testing.T) {
	ca, old, fresh := tlstest.NewAuthority(t), tlstest.NewAuthority(t), tlstest.NewAuthority(t)
	dir := &secretDir{t: t, dir: t.TempDir()}
	cert, key := ca.Issue("server")
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": old.PEM()})
	g := start(t, Options{TLS: dir.options("ca.crt")})
	_, apiKey := g.tenant("acme", auth.NewTenant{})
	addr, raw := strings.TrimPrefix(g.http, "http://"), encode(t, logs(1), protobuf)
	cache := tls.NewLRUClientSessionCache(8)
	with := func(certs ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ca.Pool, Certificates: certs, ClientSessionCache: cache}
	}
	passes := func(cfg *tls.Config) (h1, h2, rpc bool) {
		r1, err1 := postTLS(t.Context(), httpsClient(t, false, cfg), addr, apiKey, raw)
		r2, err2 := postTLS(t.Context(), httpsClient(t, true, cfg), addr, apiKey, raw)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return err1 == nil && r1.StatusCode == 200, err2 == nil && r2.StatusCode == 200, exportTLS(ctx, g.grpc, apiKey, cfg) == nil
	}
	member, stranger := with(old.Pair("agent")), with(fresh.Pair("agent"))
	if a, b, c := passes(member); !a || !b || !c {
		t.Errorf("a known authority: %v %v %v", a, b, c)
	}
	for name, cfg := range map[string]*tls.Config{"none": with(), "another authority": stranger} {
		cfg.ClientSessionCache = nil
		if a, b, c := passes(cfg); a || b || c {
			t.Errorf("%s: %v %v %v", name, a, b, c)
		}
	}
	seen := g.metric("headgate_tls_reload_failures_total")
	// An empty file must not mean that nobody is asked.
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": nil})
	timetest.Eventually(t, "the empty file is seen", func() bool { return g.metric("headgate_tls_reload_failures_total") > seen })
	if a, b, c := passes(&tls.Config{RootCAs: ca.Pool}); a || b || c {
		t.Errorf("with an empty file of authorities, without a certificate: %v %v %v", a, b, c)
	}
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": fresh.PEM()})
	timetest.Eventually(t, "the new authority is known", func() bool { a, b, c := passes(stranger); return a && b && c })
	if a, b, c := passes(member); a || b || c { // its sessions of before included
		t.Errorf("the old authority: %v %v %v", a, b, c)
	}
}

func TestT4HandshakesHaveADeadline(t *testing.T) {
	ca, dir := tlstest.NewAuthority(t), &secretDir{t: t, dir: t.TempDir()}
	cert, key := ca.Issue("one")
	dir.swap(map[string][]byte{"tls.crt": cert, "tls.key": key})
	g := start(t, Options{TLS: dir.options(""), HeaderTimeout: 300 * time.Millisecond})
	for _, addr := range []string{g.http, g.grpc} {
		for _, sent := range []string{"", "\x16\x03\x01\x02"} {
			c := dialRaw(t, addr)
			fmt.Fprint(c, sent)
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("%s after %q: %v", addr, sent, err)
			}
		}
	}
}
