package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/headgate-io/headgate/internal/tlsfiles"
)

// secured returns l, the listener of --api, under TLS if there is a certificate for it; its files are followed.
func (s *server) secured(l net.Listener) (net.Listener, error) {
	if s.cfg.APITLSCert == "" {
		return l, nil
	}
	files, err := tlsfiles.Open("api", tlsfiles.Options{CertFile: s.cfg.APITLSCert, KeyFile: s.cfg.APITLSKey}, s.log, s.reg)
	if err != nil {
		return nil, fmt.Errorf("api tls: %w", err)
	}
	s.edge("api tls files", func(ctx context.Context) error {
		files.Watch(ctx)
		return nil
	})
	return tls.NewListener(l, &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.Config(), nil },
	}), nil
}

// trusting returns a client that trusts the certificates in a PEM file, and none else: authorities, or a server's own.
func trusting(file string) (*http.Client, error) {
	pool, _, err := readCertificates(file)
	if err != nil {
		return nil, err
	}
	return clientOf(&tls.Config{RootCAs: pool}), nil
}

// pinned returns a client for the server on this machine that shows the first certificate in a PEM file, whatever host that is for.
//
// SECURITY: the file is named by the data directory, which is private. A process that has taken the port after headgate cannot show
// its certificate, and is not sent the operator's token.
func pinned(file string) (*http.Client, error) {
	pool, own, err := readCertificates(file)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{RootCAs: pool}
	switch {
	case len(own.DNSNames) > 0:
		cfg.ServerName = strings.Replace(own.DNSNames[0], "*", "any", 1)
	case len(own.IPAddresses) > 0:
		cfg.ServerName = own.IPAddresses[0].String()
	default:
		return nil, fmt.Errorf("the certificate in %s names no host", file)
	}
	return clientOf(cfg), nil
}

func clientOf(cfg *tls.Config) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = cfg
	return &http.Client{Transport: transport}
}

// readCertificates returns all certificates in a PEM file, and the first of them.
func readCertificates(file string) (*x509.CertPool, *x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	block, _ := pem.Decode(text)
	if block == nil || !pool.AppendCertsFromPEM(text) {
		return nil, nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	first, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", file, err)
	}
	return pool, first, nil
}
