package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// server answers the ClickHouse HTTP interface from the engine in this process.
type server struct {
	opts    Options
	secrets Secrets
	log     *slog.Logger
	lib     *library
	boot    *conn // keeps the engine up; runs nothing after the start
	killer  *killer

	version, timezone string

	places  chan struct{} // one element per running statement
	waiting chan struct{} // one element per statement that waits for a place
}

// newServer boots the engine.
func newServer(opts Options, secrets Secrets, lib *library, configFile string, log *slog.Logger) (*server, error) {
	s := &server{
		opts: opts, secrets: secrets, log: log, lib: lib,
		places:  make(chan struct{}, opts.MaxStatements),
		waiting: make(chan struct{}, opts.MaxWaiting),
	}
	var err error
	if s.boot, err = lib.open(opts.bootArgs(configFile)...); err != nil {
		return nil, fmt.Errorf("start engine in %s: %w", opts.storePath(), err)
	}
	if s.version, err = s.scalar("SELECT version()"); err == nil {
		s.timezone, err = s.scalar("SELECT timezone()")
	}
	if err == nil && s.version != lock["engine_version"] {
		err = fmt.Errorf("%w: ClickHouse %s, want %s", ErrLibraryVersion, s.version, lock["engine_version"])
	}
	var kill *conn
	if err == nil {
		kill, err = lib.open(opts.ownArgs()...)
	}
	if err != nil {
		s.boot.close()
		return nil, fmt.Errorf("start engine in %s: %w", opts.storePath(), err)
	}
	s.killer = &killer{log: log, conn: kill}
	return s, nil
}

func (s *server) scalar(sql string) (string, error) {
	out, _, err := s.boot.query(sql, "RawBLOB", nil)
	return string(out), err
}

// close stops the engine. No statement may be running.
func (s *server) close() {
	s.killer.conn.close()
	s.boot.close()
	s.lib.shutdown()
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Ok.\n") })
	mux.HandleFunc("/{$}", s.serveStatement)
	return mux
}

// serveStatement is the one way in: authenticate, read the request, wait for a place, run.
func (s *server) serveStatement(w http.ResponseWriter, r *http.Request) {
	who, err := s.secrets.authenticate(r)
	if err != nil {
		w.Header().Set("Connection", "close")
		writeException(w, asException(err))
		return
	}
	rc := http.NewResponseController(w)
	body := &patientReader{r.Body, rc, s.opts.StallTimeout}
	q, err := parseRequest(r, body)
	if err != nil {
		refuse(w, body, err)
		return
	}
	leave, err := s.enter(r.Context())
	if err != nil {
		refuse(w, body, err)
		return
	}
	defer leave()

	h := w.Header()
	h.Set("X-ClickHouse-Server-Display-Name", "headgate engine")
	h.Set("X-ClickHouse-Timezone", s.timezone)
	h.Set("X-ClickHouse-Query-Id", cmp.Or(q.queryID, rand.Text()))
	x := &execution{server: s, who: who, q: q, out: newOutput(w, q, s.opts.StallTimeout), began: time.Now()}
	x.run(r.Context(), w)
	if x.failed != nil {
		drain(body)
		x.out.fail(x.failed)
	}
}

// refuse answers a request that was not run.
func refuse(w http.ResponseWriter, body io.Reader, err error) {
	drain(body)
	writeException(w, asException(err))
}

// drain reads what is left of the body. A client that is still sending when the answer comes may see a broken connection
// instead of it.
func drain(body io.Reader) { _, _ = io.Copy(io.Discard, body) }

// enter waits for a place among the running statements; leave gives it back.
func (s *server) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-s.places }
	select {
	case s.places <- struct{}{}:
		return leave, nil
	default:
	}
	tooMany := exceptionf(codeTooManyQueries, "too many simultaneous queries: %d run", cap(s.places))
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return nil, tooMany
	}
	timer := time.NewTimer(s.opts.MaxWait)
	defer timer.Stop()
	select {
	case s.places <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, tooMany
	case <-ctx.Done():
		return nil, exceptionf(codeQueryCancelled, "client went away while waiting")
	}
}

// readAll reads r up to limit bytes; more is an exception.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if int64(len(b)) > limit {
		return nil, exceptionf(codeQueryTooLarge, "statement longer than %d bytes", limit)
	}
	return b, nil
}

func bodyError(err error) *exception {
	var e *exception
	if errors.As(err, &e) {
		return e
	}
	return exceptionf(codeCannotReadAll, "cannot read the request body: %v", err)
}
