package ingest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection as the front accepted it, under TLS: what is known of who is at its other end, and how far that
// one is trusted. It is safe for concurrent use, as a net.Conn is.
type conn struct {
	net.Conn
	peer         *peer
	writeTimeout time.Duration   // for the client to take what one Write has
	stopping     <-chan struct{} // closed when the server stops: nothing is held any more
	closed       func()          // called once
	end          chan struct{}   // closed with the connection

	certificate []string // what the client's is called, which was verified (auth.CertificateNames); set before any server has the connection

	agent atomic.Pointer[seenAgent] // of the last good request, nil before it

	writing sync.Mutex // held while answers wait to be taken; guards lost
	lost    error      // why no more answers are taken

	// Unix nanoseconds, 0 for never: of the last good key, of the first bad one for which the connection was held since,
	// and of the moment before which nothing is read.
	good, since, until atomic.Int64

	partial atomic.Bool // the last request was answered and not read to its end
}

// sendBuffer is what the kernel keeps of answers not yet taken, where it would grow to megabytes by itself. Answers have a
// few hundred bytes.
const sendBuffer = 64 << 10

func newConn(c net.Conn, p *peer, writeTimeout time.Duration, stopping <-chan struct{}, closed func()) *conn {
	out := &conn{Conn: c, peer: p, writeTimeout: writeTimeout, stopping: stopping, end: make(chan struct{})}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
	out.closed = sync.OnceFunc(func() { close(out.end); closed() })
	return out
}

// heldRead is what a held connection is read at once: a call or a few, not all that fits a server's buffer.
const heldRead = 1 << 10

// Read waits for answers that the client does not take, and for as long as the connection is held.
//
// SECURITY: a client that reads no answers, for which it needs no key, would otherwise have grpc-go queue ten thousand of
// them: 14 to 17 MB a connection were measured, and 3 with it.
func (c *conn) Read(b []byte) (int, error) {
	if wait := time.Until(time.Unix(0, c.until.Load())); wait > 0 {
		held := time.NewTimer(wait)
		defer held.Stop()
		select {
		case <-held.C:
		case <-c.stopping:
		case <-c.end:
		}
		b = b[:min(len(b), heldRead)]
	}
	c.writing.Lock()
	lost := c.lost
	c.writing.Unlock()
	if lost != nil {
		return 0, lost
	}
	return c.Conn.Read(b)
}

// Write fails if the client does not take b within writeTimeout, and closes the connection then: nobody is there to be
// answered. grpc-go by itself would wait until its pings go unanswered.
func (c *conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		c.lost = err
		_ = c.Close()
	}
	return n, err
}

// farewell is how long a client may read its answer that still writes: closing on unread bytes resets the connection, and
// clients lose the answer with it (RFC 9112, 9.6). Nothing is read meanwhile.
const farewell = 500 * time.Millisecond

// Close may be called more than once.
func (c *conn) Close() error {
	if c.partial.Swap(false) && c.CloseWrite() == nil {
		wait := time.NewTimer(farewell)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-c.stopping:
		}
	}
	defer c.closed()
	return c.Conn.Close()
}

// CloseWrite ends an answer, on TCP.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

const (
	// trustFor is how long a good key keeps a connection from being held for bad ones: a proxy may send both on it.
	trustFor = time.Minute
	// closeAfter is how long a connection is held at a stretch before it is closed.
	closeAfter = time.Minute
)

// authenticated takes note of what became of a key, and reports whether the connection is held for it.
func (c *conn) authenticated(ok bool, now time.Time) (held bool) {
	if ok {
		c.good.Store(now.UnixNano())
		c.since.Store(0)
		return false
	}
	wait := c.peer.fail(now)
	if wait <= 0 || now.UnixNano()-c.good.Load() < int64(trustFor) {
		return false
	}
	c.until.Store(now.Add(wait).UnixNano())
	if !c.since.CompareAndSwap(0, now.UnixNano()) && now.UnixNano()-c.since.Load() > int64(closeAfter) {
		_ = c.Close()
	}
	return true
}

// rereadConn is what a server gets of a conn: TLS taken off, and beginning with bytes that were already read.
type rereadConn struct {
	net.Conn
	first  []byte
	origin *conn
}

func (c *rereadConn) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// originOf returns the connection that a server's is made of, nil if it is not the front's.
func originOf(c net.Conn) *conn {
	if r, ok := c.(*rereadConn); ok {
		return r.origin
	}
	return nil
}
