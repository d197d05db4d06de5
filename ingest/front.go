package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tlsfiles"
)

// front accepts the connections of one port, takes TLS off, looks at the first bytes, and hands each to the server of
// its protocol. It holds no more than MaxConnections at a time, and MaxPeerConnections of one address: one more is closed
// at once.
type front struct {
	receiver  *receiver
	transport transport
	listener  net.Listener
	tls       *tlsfiles.Files // nil: plaintext
	http2     *queue
	http1     *queue // nil: HTTP/1.1 is told that it came to the wrong port
	slots     chan struct{}
	peers     *peers
}

func newFront(r *receiver, via transport, l net.Listener, tls *tlsfiles.Files) *front {
	return &front{
		receiver: r, transport: via, listener: l, tls: tls, http2: newQueue(l.Addr()),
		slots: make(chan struct{}, r.opt.MaxConnections), peers: newPeers(r.opt.MaxPeerConnections, r.opt.MaxAuthFailures),
	}
}

// run accepts until ctx ends or the listener fails. It closes the listener; what it handed over goes on.
func (f *front) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = f.listener.Close() })
	defer stop()
	var greeting sync.WaitGroup
	defer greeting.Wait()
	defer cancel() // ends what is being greeted, before it is waited for
	for {
		c, err := f.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			if !temporary(err) {
				return fmt.Errorf("accept: %w", err)
			}
			f.receiver.log.Warn("accept failed", "err", err)
			select { // out of file descriptors, most likely
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if admitted := f.admit(ctx, c); admitted != nil {
			greeting.Go(func() {
				pause(ctx, admitted.peer.pace(time.Now()))
				f.greet(ctx, admitted)
			})
		}
	}
}

// admit takes a connection if there is a place for it, or closes it and returns nil.
func (f *front) admit(ctx context.Context, c net.Conn) *conn {
	m := f.receiver.metrics
	p, ok := f.peers.connect(c.RemoteAddr(), time.Now())
	if !ok {
		m.turnAway(f.transport, "too-many-of-peer")
		_ = c.Close()
		return nil
	}
	select {
	case f.slots <- struct{}{}:
	default:
		p.disconnect(time.Now())
		m.turnAway(f.transport, "too-many")
		_ = c.Close()
		return nil
	}
	open := m.connections.WithLabelValues(string(f.transport))
	open.Inc()
	return newConn(c, p, f.receiver.opt.WriteTimeout, ctx.Done(), func() { open.Dec(); p.disconnect(time.Now()); <-f.slots })
}

func temporary(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}

// pause waits for d, or for ctx to end.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// greet finds out what a connection speaks, within HeaderTimeout, and hands it over.
func (f *front) greet(ctx context.Context, c *conn) {
	ctx, cancel := context.WithTimeout(ctx, f.receiver.opt.HeaderTimeout)
	defer cancel()
	interrupt := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	plain, h2, err := f.recognise(ctx, c)
	if !interrupt() { // too late, whatever was recognised
		err = errors.Join(err, context.Cause(ctx))
	}
	to := f.http2
	if !h2 {
		to = f.http1
	}
	switch {
	case err != nil:
		f.receiver.metrics.turnAway(f.transport, "greeting")
		_ = c.Close()
	case to == nil:
		f.receiver.metrics.turnAway(f.transport, "wrong-port")
		turnAway(plain, "this port speaks OTLP/gRPC; send OTLP/HTTP to the other one, 4318 by default")
	case !to.put(plain):
		_ = plain.Close()
	}
}

// recognise returns the connection without TLS and with its first bytes still to be read, and whether they open HTTP/2.
func (f *front) recognise(ctx context.Context, origin *conn) (plain net.Conn, h2 bool, err error) {
	var c net.Conn = origin
	if f.tls != nil {
		t := tls.Server(c, f.tls.Config())
		if err := t.HandshakeContext(ctx); err != nil {
			var notTLS tls.RecordHeaderError
			if errors.As(err, &notTLS) && notTLS.Conn != nil {
				turnAway(notTLS.Conn, "this port speaks TLS; use https, and TLS in gRPC clients")
			}
			return nil, false, err
		}
		// SECURITY: verified ones alone; a session that is resumed has the chains of its first handshake.
		if chains := t.ConnectionState().VerifiedChains; len(chains) > 0 {
			origin.certificate = auth.CertificateNames(chains[0][0])
		}
		c = t
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	first := make([]byte, 0, len(preface))
	for {
		n, err := c.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if string(first) != preface[:len(first)] {
			return &rereadConn{Conn: c, first: first, origin: origin}, false, nil
		}
		if len(first) == len(preface) {
			return &rereadConn{Conn: c, first: first, origin: origin}, true, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
}

// turnAway answers a client that speaks another protocol in HTTP/1.1, which it most likely understands, and closes.
func turnAway(c net.Conn, text string) {
	a := failureReply(jsonEncoding, fail(kind{"wrong-port", http.StatusBadRequest, codes.InvalidArgument}, "%s", text))
	_ = c.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		a.status, http.StatusText(a.status), a.contentType, len(a.body), a.body)
	// Closing on unread bytes would reset the connection, and the answer with it.
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, c, 1<<20)
	_ = c.Close()
}
