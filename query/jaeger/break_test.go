package jaeger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestAnswersThatBreakOffAreNoAnswers: when the engine's stream ends in the middle, so does the connection, in both versions.
func TestAnswersThatBreakOffAreNoAnswers(t *testing.T) {
	s := newStore(t)
	td := shop()
	ss := td.ResourceSpans().At(0).ScopeSpans().At(0)
	for i := range 3000 {
		newSpan(ss, payment, fmt.Sprintf("%016x", 0xff0000+i), "", strings.Repeat("long ", 100), 1, time.Duration(i)*time.Millisecond, time.Millisecond)
	}
	s.send("a", td)
	for _, path := range []string{"traces/", "v3/traces/"} {
		h := s.handler("a")
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, leave := context.WithCancel(r.Context())
			defer leave()
			h.ServeHTTP(&leaver{ResponseWriter: w, after: 300_000, leave: leave}, r.WithContext(ctx))
		}))
		t.Cleanup(srv.Close)
		resp, err := srv.Client().Get(srv.URL + "/jaeger/api/" + path + payment)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || !errors.Is(err, io.ErrUnexpectedEOF) || len(b) < 100_000 {
			t.Errorf("%s ended after %d bytes with %v, want a broken connection", path, len(b), err)
		}
	}
}

// leaver ends the query once so many bytes were written, as if it had failed.
type leaver struct {
	http.ResponseWriter
	after int
	leave func()
}

func (l *leaver) Write(p []byte) (int, error) {
	if l.after -= len(p); l.after < 0 {
		l.leave()
	}
	return l.ResponseWriter.Write(p)
}
