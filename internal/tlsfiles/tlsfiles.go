// Package tlsfiles makes TLS configurations of PEM files, and follows the files when they change. All types are safe for concurrent
// use.
package tlsfiles

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

// Options names PEM files.
type Options struct {
	CertFile, KeyFile string
	ClientCAFile      string        // clients must show a certificate of one of these authorities; empty: none is asked for
	ReloadEvery       time.Duration // how often the files are read again; default 5 s
}

// Files follows the files of its Options. A change, by whatever means (a rewrite, a rename, a symbolic link that moves), is taken
// up for new connections. Files that do not fit together leave what was there in force.
type Files struct {
	opt     Options
	log     *slog.Logger
	refused prometheus.Counter // readings that left the old files in force
	expiry  prometheus.Gauge
	current atomic.Pointer[tls.Config]
	seen    []byte // what the files held at the last reading, good or bad; only load uses it
}

// Open reads the files once, and fails if they cannot be used. address labels the metrics: it says what listens with them.
func Open(address string, opt Options, log *slog.Logger, reg prometheus.Registerer) (*Files, error) {
	if opt.ReloadEvery == 0 {
		opt.ReloadEvery = 5 * time.Second
	}
	label := prometheus.Labels{"address": address}
	f := &Files{
		opt: opt, log: log.With("address", address),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_tls_reload_failures_total", Help: "Changed TLS files that could not be used; the old ones stayed in force.",
			ConstLabels: label,
		}),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate in force ends, Unix time.",
			ConstLabels: label,
		}),
	}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	reg.MustRegister(f.refused, f.expiry)
	return f, nil
}

// Config is what the next connection is to be greeted with.
func (f *Files) Config() *tls.Config { return f.current.Load() }

// Watch reads the files again and again until ctx ends.
func (f *Files) Watch(ctx context.Context) {
	tick := time.NewTicker(f.opt.ReloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch changed, err := f.load(); {
		case err != nil && changed:
			f.refused.Inc()
			f.log.Error("new tls files cannot be used; the old ones stay in force", "err", err)
		case changed:
			f.log.Info("tls files reloaded")
		}
	}
}

// load takes the files up if they differ from the last reading, and reports whether they do.
func (f *Files) load() (changed bool, err error) {
	var read [3][]byte
	var errs error
	for i, name := range []string{f.opt.CertFile, f.opt.KeyFile, f.opt.ClientCAFile} {
		if name != "" {
			read[i], err = os.ReadFile(name)
			errs = errors.Join(errs, err)
		}
	}
	seen := bytes.Join(read[:], []byte{0})
	if errs != nil {
		seen = []byte(errs.Error())
	}
	if bytes.Equal(seen, f.seen) {
		return false, nil
	}
	f.seen = seen
	if errs != nil {
		return true, errs
	}
	cfg, err := tlsConfig(read[0], read[1])
	if err == nil && f.opt.ClientCAFile != "" {
		err = requireClients(cfg, read[2])
	}
	if err != nil {
		return true, fmt.Errorf("use %s: %w", strings.Join([]string{f.opt.CertFile, f.opt.KeyFile, f.opt.ClientCAFile}, " "), err)
	}
	// SECURITY: a new Config has new session keys: no session that the old authorities let in is resumed.
	f.current.Store(cfg)
	f.expiry.Set(float64(cfg.Certificates[0].Leaf.NotAfter.Unix()))
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
