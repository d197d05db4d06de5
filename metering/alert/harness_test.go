package alert

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

func id(s string) tenant.ID {
	v, err := tenant.ParseID(s)
	if err != nil {
		panic(err)
	}
	return v
}

// local makes a service that may speak to this machine.
func local(db *store.DB, c *timetest.Clock) *Service {
	return New(db, Options{Now: c.Now, AllowPrivate: true})
}

// turn does one round and waits for what it has started.
func turn(t *testing.T, s *Service) {
	t.Helper()
	if err := s.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wg.Wait()
}

// run runs s until the test ends.
func run(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// create makes a webhook; owner "" is the operator.
func create(t *testing.T, db *store.DB, s *Service, owner, url string, kinds ...Kind) (Webhook, string) {
	t.Helper()
	n := NewWebhook{URL: url, Kinds: kinds}
	if owner != "" {
		n.Tenant = id(owner)
	}
	var w Webhook
	var secret string
	err := db.Update(t.Context(), func(tx *store.Tx) (err error) {
		w, secret, err = s.Create(t.Context(), tx, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, secret
}

// got is a request that a receiver has taken.
type got struct {
	header http.Header
	body   []byte
}

// receiver is a target on a socket.
type receiver struct {
	url    string
	mu     sync.Mutex
	got    []got
	answer http.HandlerFunc // nil: 200
}

func (r *receiver) take() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]got{}, r.got...)
}

func (r *receiver) ids() map[string]int {
	out := map[string]int{}
	for _, g := range r.take() {
		out[g.header.Get("webhook-id")]++
	}
	return out
}

func (r *receiver) answering(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

func listen(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		r.got = append(r.got, got{req.Header, body})
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, req)
		}
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// delivery returns the only delivery of the only event.
func onlyDelivery(t *testing.T, s *Service) Delivery {
	t.Helper()
	found, err := s.Alerts(t.Context(), UnsafeAll(), Filter{Limit: 10})
	if err != nil || len(found) != 1 || len(found[0].Deliveries) != 1 {
		t.Fatalf("alerts %+v, %v", found, err)
	}
	return found[0].Deliveries[0]
}
