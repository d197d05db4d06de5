package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/metering/alert"
)

// hookTarget takes webhooks, and checks each by its secret as receivers do.
type hookTarget struct {
	url    string
	status atomic.Int64
	mu     sync.Mutex
	secret []byte
	taken  map[string]int // id → how often it was answered 200
	seen   int
}

func newHookTarget(t *testing.T) *hookTarget {
	h := &hookTarget{taken: map[string]int{}}
	h.status.Store(200)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		mac := hmac.New(sha256.New, h.secret)
		fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
		if r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q of %s", r.Header.Get("webhook-signature"), body)
		}
		h.seen++
		if code := int(h.status.Load()); code != 200 {
			w.WriteHeader(code)
			return
		}
		h.taken[r.Header.Get("webhook-id")]++
	}))
	t.Cleanup(srv.Close)
	h.url = srv.URL
	return h
}

func (h *hookTarget) counts() (seen, taken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen, len(h.taken)
}

// spend sends records until one is refused.
func (p *process) spend(key string) {
	p.t.Helper()
	for i := range 100 {
		status, text, err := p.post(p.t.Context(), "/v1/logs", "application/json", key, []byte(record(fmt.Sprint("spend ", i))))
		if err != nil {
			p.t.Fatal(err)
		}
		if status == http.StatusTooManyRequests {
			return
		}
		if status != 200 {
			p.t.Fatalf("%d %s", status, text)
		}
	}
	p.t.Fatal("no limit is reached")
}

// TestAlertsReachTheirTargetThroughAKill crosses every threshold of a limit while the target fails, kills headgate, and starts it
// again with a target that answers.
func TestAlertsReachTheirTargetThroughAKill(t *testing.T) {
	dir := t.TempDir()
	p := serveOn(t, dir, "--webhook-allow-private")
	h := newHookTarget(t)
	h.status.Store(500)
	p.cli("tenant", "create", "acme", "--daily-bytes", "4KiB")
	p.cli("tenant", "create", "globex")
	key, usage := p.key("acme", "ingest"), p.key("globex", "usage")
	made := unmarshal[control.NewWebhook](t, p.cli("webhook", "create", "--tenant", "acme", "--url", h.url, "--json"))
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(made.Secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.secret = raw
	h.mu.Unlock()
	p.spend(key)
	p.flushed()
	list := func() []alert.Alert {
		return unmarshal[struct{ Alerts []alert.Alert }](t, p.cli("alerts", "--tenant", "acme", "--json")).Alerts
	}
	timetest.Eventually(t, "the four events, and an attempt at one", func() bool {
		seen, _ := h.counts()
		return len(list()) == 4 && seen > 0
	})
	before := list()
	p.end(syscall.SIGKILL)

	h.status.Store(200)
	p = serveOn(t, dir, "--webhook-allow-private")
	timetest.Eventually(t, "every event to be delivered", func() bool {
		for _, a := range list() {
			if len(a.Deliveries) != 1 || a.Deliveries[0].State != alert.StateDelivered {
				return false
			}
		}
		return true
	})
	thresholds := map[int]bool{}
	for i, a := range list() {
		if a.ID != before[i].ID || a.Max != 4096 || a.Kind != alert.DailyBytes || a.Tenant != "acme" {
			t.Errorf("event %+v, before the kill %+v", a, before[i])
		}
		thresholds[a.Threshold] = true
		h.mu.Lock()
		if h.taken[a.ID] < 1 {
			t.Errorf("the event of %d %% did not arrive", a.Threshold)
		}
		h.mu.Unlock()
	}
	if len(thresholds) != 4 {
		t.Errorf("thresholds %v", thresholds)
	}

	// Why: the key that was refused, its neighbour, and the operator.
	decisions := func(args ...string) []metering.RefusalCount {
		return unmarshal[struct{ Decisions []metering.RefusalCount }](t, p.cli(append([]string{"decisions", "--json"}, args...)...)).Decisions
	}
	own := decisions("--key", key)
	if len(own) != 1 || own[0].Reason != metering.LimitTenant || own[0].Requests != 1 || !strings.Contains(own[0].Text, "of 4096") {
		t.Errorf("the refused key is told %+v", own)
	}
	if got := decisions("--tenant", "acme"); len(got) != 1 {
		t.Errorf("the operator is told %+v", got)
	}
	if got := decisions("--key", usage); len(got) != 0 {
		t.Errorf("the neighbour is told %+v", got)
	}
	if table := p.cli("decisions"); !strings.Contains(table, "limit-daily-bytes") || !strings.Contains(table, "LAST ANSWER") {
		t.Errorf("table:\n%s", table)
	}
	if table := p.cli("alerts"); strings.Count(table, "1 of 1") != 4 {
		t.Errorf("table:\n%s", table)
	}
}

// TestWebhooksSpeakToNoPrivateAddressUnlessTold runs without --webhook-allow-private.
func TestWebhooksSpeakToNoPrivateAddressUnlessTold(t *testing.T) {
	p := serveOn(t, t.TempDir())
	h := newHookTarget(t)
	p.cli("tenant", "create", "acme")
	if _, text, err := p.try("webhook", "create", "--tenant", "acme", "--url", h.url); err == nil || !strings.Contains(text, "private") {
		t.Errorf("create with %s: %v %s", h.url, err, text)
	}
	named := strings.Replace(h.url, "127.0.0.1", "localhost", 1)
	hook := unmarshal[control.NewWebhook](t, p.cli("webhook", "create", "--tenant", "acme", "--url", named, "--json"))
	if _, text, err := p.try("webhook", "test", hook.ID); err == nil || !strings.Contains(text, "private or reserved") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("test of %s: %v %s", named, err, text)
	}
	if seen, _ := h.counts(); seen != 0 {
		t.Errorf("%d messages arrived", seen)
	}
	if table := p.cli("webhook", "list"); !strings.Contains(table, hook.ID) || strings.Contains(table, hook.Secret) {
		t.Errorf("list:\n%s", table)
	}
	if got := p.cli("webhook", "disable", hook.ID); got != hook.ID+" is disabled\n" {
		t.Errorf("disable printed %q", got)
	}
	p.cli("webhook", "delete", hook.ID)
	if _, text, err := p.try("webhook", "delete", hook.ID); err == nil || !strings.Contains(text, "no such webhook") {
		t.Errorf("second delete: %v %s", err, text)
	}
	// A deleted tenant's webhooks and events go with it.
	p.cli("webhook", "create", "--tenant", "acme", "--url", named)
	p.cli("tenant", "disable", "acme")
	p.cli("tenant", "delete", "acme", "--confirm", "acme")
	if got := unmarshal[struct{ Webhooks []control.Webhook }](t, p.cli("webhook", "list", "--json")).Webhooks; len(got) != 0 {
		t.Errorf("webhooks of a deleted tenant: %+v", got)
	}
}
