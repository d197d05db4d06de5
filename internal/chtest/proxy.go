package chtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what a Proxy does with a request.
type Fault int

// The faults.
const (
	Pass       Fault = iota
	Refuse           // the connection breaks before anything is forwarded
	CutBody          // half of the body is forwarded, then both connections break
	LoseAnswer       // everything is forwarded and carried out, then the connection breaks
	Hang             // nothing is forwarded; the connection stays until the client gives up
	Late             // the client's connection breaks at once, and what it sent is carried out a moment later
	Abandon          // the client's connection breaks at once, while what it sent is being carried out
	Overloaded       // TOO_MANY_PARTS
	Broken           // an HTML page, as a load balancer without servers sends it
)

// Proxy stands between a client and ClickHouse's HTTP interface and does to requests what networks and servers do.
type Proxy struct {
	target string
	client http.Transport
	choose atomic.Pointer[func(*http.Request) Fault]
	server *http.Server
	addr   string
	late   sync.WaitGroup
}

// StartProxy starts a proxy in front of target, host:port, which stops with the test. It passes everything until Choose.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, addr: l.Addr().String()}
	p.Choose(func(*http.Request) Fault { return Pass })
	p.server = &http.Server{Handler: p}
	go func() { _ = p.server.Serve(l) }()
	t.Cleanup(func() {
		_ = p.server.Close()
		p.client.CloseIdleConnections()
	})
	return p
}

// Addr returns the address to connect to.
func (p *Proxy) Addr() string { return p.addr }

// WaitLate waits until every Late and every Abandoned request was carried out.
func (p *Proxy) WaitLate() { p.late.Wait() }

// Choose sets what decides about each request from now on. It is called concurrently.
func (p *Proxy) Choose(f func(*http.Request) Fault) { p.choose.Store(&f) }

// IsInsert reports whether a request is an INSERT whose data is in the body.
func IsInsert(r *http.Request) bool {
	return strings.HasPrefix(strings.ToUpper(strings.TrimSpace(r.URL.Query().Get("query"))), "INSERT")
}

// Statement returns the text of a request's statement, wherever it stands, for a decision about it.
func Statement(r *http.Request) string {
	if q := r.URL.Query().Get("query"); q != "" {
		return q
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// lateBy is how long after the client has left a Late request is forwarded.
const lateBy = 300 * time.Millisecond

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := (*p.choose.Load())(r)
	switch fault {
	case Refuse:
		panic(http.ErrAbortHandler)
	case Hang:
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return
	case Overloaded:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-ClickHouse-Exception-Code", "252")
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintln(w, "Code: 252. DB::Exception: Too many parts (300). Merges are processing significantly slower than inserts. (TOO_MANY_PARTS)")
		return
	case Broken:
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "<html><body><h1>503 Service Unavailable</h1></body></html>")
		return
	}
	p.forward(w, r, fault)
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, fault Fault) {
	out := r.Clone(r.Context())
	switch fault {
	case CutBody, LoseAnswer, Late, Abandon:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		out = r.Clone(context.WithoutCancel(r.Context()))
		out.Body = io.NopCloser(strings.NewReader(string(body)))
		if fault == CutBody {
			out.Body = io.NopCloser(io.MultiReader(strings.NewReader(string(body[:len(body)/2])), broken{}))
		}
	}
	out.URL.Scheme, out.URL.Host, out.Host, out.RequestURI = "http", p.target, p.target, ""
	if fault == Late || fault == Abandon {
		p.late.Add(1)
		wait := lateBy
		if fault == Abandon {
			wait = 0
		}
		time.AfterFunc(wait, func() {
			defer p.late.Done()
			if resp, err := p.client.RoundTrip(out); err == nil {
				_ = resp.Body.Close()
			}
		})
		panic(http.ErrAbortHandler)
	}
	resp, err := p.client.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	if fault != Pass {
		_, _ = io.Copy(io.Discard, resp.Body)
		panic(http.ErrAbortHandler)
	}
	for k, vs := range resp.Header {
		w.Header()[k] = vs
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(flushing{w}, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// broken is a body whose sender dies.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

// flushing sends each piece of an answer at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	_ = http.NewResponseController(f.ResponseWriter).Flush()
	return n, err
}
