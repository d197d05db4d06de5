package ingest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TLSOptions names PEM files. Without CertFile there is no TLS.
type TLSOptions struct {
	CertFile, KeyFile string
	ClientCAFile      string        // clients must show a certificate of one of these authorities; empty: none is asked for
	ReloadEvery       time.Duration // how often the files are read again; default 5 s
}

// certificates follows the files of a TLSOptions. A change, by whatever means (a rewrite, a rename, a symbolic link that
// moves), is taken up for new connections. Files that do not fit together leave what was there in force.
type certificates struct {
	opt     TLSOptions
	log     *slog.Logger
	refused prometheus.Counter // readings that left the old files in force
	current atomic.Pointer[tls.Config]
	seen    []byte // what the files held at the last reading, good or bad; only load uses it
}

// newCertificates reads the files once, and fails if they cannot be used.
func newCertificates(opt TLSOptions, log *slog.Logger, refused prometheus.Counter) (*certificates, error) {
	if opt.ReloadEvery == 0 {
		opt.ReloadEvery = 5 * time.Second
	}
	c := &certificates{opt: opt, log: log, refused: refused}
	if _, err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// config is what the next connection is to be greeted with.
func (c *certificates) config() *tls.Config { return c.current.Load() }

// watch reads the files again and again until ctx ends.
func (c *certificates) watch(ctx context.Context) {
	tick := time.NewTicker(c.opt.ReloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch changed, err := c.load(); {
		case err != nil && changed:
			c.refused.Inc()
			c.log.Error("new tls files cannot be used; the old ones stay in force", "err", err)
		case changed:
			c.log.Info("tls files reloaded")
		}
	}
}

// load takes the files up if they differ from the last reading, and reports whether they do.
func (c *certificates) load() (changed bool, err error) {
	var files [3][]byte
	var errs error
	for i, name := range []string{c.opt.CertFile, c.opt.KeyFile, c.opt.ClientCAFile} {
		if name != "" {
			files[i], err = os.ReadFile(name)
			errs = errors.Join(errs, err)
		}
	}
	seen := bytes.Join(files[:], []byte{0})
	if errs != nil {
		seen = []byte(errs.Error())
	}
	if bytes.Equal(seen, c.seen) {
		return false, nil
	}
	c.seen = seen
	if errs != nil {
		return true, errs
	}
	cfg, err := tlsConfig(files[0], files[1])
	if err == nil && c.opt.ClientCAFile != "" {
		err = requireClients(cfg, files[2])
	}
	if err != nil {
		return true, fmt.Errorf("use %s: %w", strings.Join([]string{c.opt.CertFile, c.opt.KeyFile, c.opt.ClientCAFile}, " "), err)
	}
	// SECURITY: a new Config has new session keys: no session that the old authorities let in is resumed.
	c.current.Store(cfg)
	return true, nil
}

func tlsConfig(cert, key []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}, nil
}

// SECURITY: a file without an authority is an error; it must not mean that nobody is asked.
func requireClients(cfg *tls.Config, authorities []byte) error {
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(authorities) {
		return errors.New("no certificate in the file of client authorities")
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	return nil
}
