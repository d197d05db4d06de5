package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/timetest"
)

// processes is how many statements of the reader run on the store's database.
func (s *store) processes() int {
	s.t.Helper()
	var n uint64
	err := s.writer.QueryRow(s.t.Context(), "SELECT count() FROM system.processes WHERE current_database = '"+s.name+"' AND query LIKE '%PREWHERE%' AND query NOT LIKE '%system.processes%'").Scan(&n)
	if err != nil {
		s.t.Fatal(err)
	}
	return int(n)
}

// TestNothingRunsOnForWhoLeft: in every format, a client that leaves in the middle of its result, or while it waits for a
// place, leaves no statement behind in the engine and no place taken.
func TestNothingRunsOnForWhoLeft(t *testing.T) {
	s := newStore(t)
	s.many(300_000)
	s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{CacheBytes: 8 << 20, Limits: Limits{Concurrent: 1, MaxWait: time.Minute, MaxThreads: 1, MaxExecution: 5 * time.Minute, MaxRows: 1_000_000}})
	srv := s.serve(chtest.Scope(t, "a"))
	start := func(ctx context.Context, query string, f Format) (*http.Response, error) {
		body, err := json.Marshal(ranged(query, map[string]any{"format": f, "limit": 300_000, "max_age": "1m"}))
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return srv.Client().Do(req)
	}
	// Rows are wide, so that no buffer on the way holds the whole.
	const wide = "logs | project body, a = concat(body, body, body, body), b = concat(body, body, body, body, body, body)"
	for _, f := range []Format{FormatJSON, FormatNDJSON, FormatCSV, FormatParquet, FormatArrow} {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := start(ctx, wide, f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		waits := make(chan error, 1)
		go func() {
			resp, err := start(ctx, slow, f)
			if err == nil {
				resp.Body.Close()
			}
			waits <- err
		}()
		cancel()
		resp.Body.Close()
		if err := <-waits; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: who waits: %v", f, err)
		}
		timetest.Eventually(t, string(f)+": no statement runs", func() bool { return s.processes() == 0 })
		timetest.Eventually(t, string(f)+": no place is taken", func() bool {
			s.reader.gate.mu.Lock()
			defer s.reader.gate.mu.Unlock()
			return s.reader.gate.running == 0 && len(s.reader.gate.line) == 0
		})
	}
}

// TestBrokenBytesDoNotParse: Parquet and Arrow that break off after the first bytes break the connection, and say nothing of
// the engine.
func TestBrokenBytesDoNotParse(t *testing.T) {
	s := newStore(t)
	s.many(200_000)
	for _, f := range []Format{FormatParquet, FormatArrow} {
		srv := httptest.NewServer(httpapi.Handle(s.reader.log, func(w http.ResponseWriter, r *http.Request) error {
			b := hour()
			b.Limit, b.Named = 200_000, true
			st, err := Print(mustParse(t, "logs | project body"), chtest.Scope(t, "a"), b)
			if err != nil {
				return err
			}
			res, err := s.reader.Run(r.Context(), st, f.encoding())
			if err != nil {
				return err
			}
			defer res.Close()
			res.stream = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(res.stream, 200_000), errReader{errors.New("secret engine text")}), res.stream}
			return respond(w, res, f)
		}))
		t.Cleanup(srv.Close)
		resp, err := srv.Client().Post(srv.URL, "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || len(body) == 0 || bytes.Contains(body, []byte("secret")) || bytes.HasSuffix(body, []byte("PAR1")) {
			t.Errorf("%s: ended with %v after %d bytes", f, err, len(body))
		}
	}
}
