package tlsfiles_test

import (
	"context"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/internal/tlsfiles"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
)

var quiet = slog.New(slog.DiscardHandler)

func TestFilesThatCannotBeUsedAreFoundAtTheStart(t *testing.T) {
	cert, key := tlstest.NewAuthority(t).Files("one")
	_, foreign := tlstest.NewAuthority(t).Files("two")
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, nil)
	for _, opt := range []tlsfiles.Options{
		{CertFile: cert, KeyFile: foreign},
		{CertFile: cert, KeyFile: empty + ".missing"},
		{CertFile: empty, KeyFile: key},
		{CertFile: cert, KeyFile: key, ClientCAFile: empty},
		{CertFile: cert, KeyFile: key, ClientCAFile: empty + ".missing"},
	} {
		_, err := tlsfiles.Open("otlp", opt, quiet, prometheus.NewRegistry())
		if err == nil || !strings.Contains(err.Error(), filepath.Dir(cert)) && !strings.Contains(err.Error(), empty) {
			t.Errorf("%+v: %v, want an error that names a file", opt, err)
		}
	}
}

// TestGoodChangesAreTakenUpAndBadOnesCounted: what is in force ends when its certificate does, whatever lies in the files by then.
func TestGoodChangesAreTakenUpAndBadOnesCounted(t *testing.T) {
	ca, reg := tlstest.NewAuthority(t), prometheus.NewRegistry()
	cert, key := ca.Files("first")
	f, err := tlsfiles.Open("api", tlsfiles.Options{CertFile: cert, KeyFile: key, ReloadEvery: 5 * time.Millisecond}, quiet, reg)
	if err != nil {
		t.Fatal(err)
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	watching.Go(func() { f.Watch(ctx) })
	inForce := func() *x509.Certificate { return f.Config().Certificates[0].Leaf }
	is := func(refused string) error {
		return testutil.GatherAndCompare(reg, strings.NewReader(`# HELP headgate_tls_reload_failures_total Changed TLS files that could not be used; the old ones stayed in force.
# TYPE headgate_tls_reload_failures_total counter
headgate_tls_reload_failures_total{address="api"} `+refused+"\n"), "headgate_tls_reload_failures_total")
	}

	write(t, cert, []byte("nonsense"))
	timetest.Eventually(t, "the bad change to be counted", func() bool { return is("1") == nil })
	if got := inForce().Subject.CommonName; got != "first" {
		t.Errorf("after a bad change %q is in force", got)
	}
	second, secondKey := ca.Issue("second")
	write(t, key, secondKey)
	write(t, cert, second)
	timetest.Eventually(t, "the good change", func() bool { return inForce().Subject.CommonName == "second" })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families {
		if got := time.Unix(int64(m.Metric[0].GetGauge().GetValue()), 0); strings.Contains(m.GetName(), "expiry") && !got.Equal(inForce().NotAfter) {
			t.Errorf("the certificate is said to end at %v, it does at %v", got, inForce().NotAfter)
		}
	}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
