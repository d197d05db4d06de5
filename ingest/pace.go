package ingest

import (
	"io"
	"time"
)

// minBodyRate is the slowest a body may come, in bytes per second after the first BodyTimeout. An absolute deadline would
// refuse honest senders of large bodies on slow links, or let a stalled one stay for minutes.
const minBodyRate = 32 << 10

// pacedReader reads a body under a deadline that moves with its progress: BodyTimeout, and a second more for each
// minBodyRate bytes that have come.
type pacedReader struct {
	r           io.Reader
	setDeadline func(time.Time) error // of reads
	start       time.Time
	timeout     time.Duration
	came        int64
	set         time.Time
	err         error
}

// Read repeats its first error for ever.
//
// SECURITY: fasthttp's stream does not. Read again after a malformed chunk it may find something well-formed, which would
// make a request of what follows.
func (p *pacedReader) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	deadline := p.start.Add(p.timeout + time.Duration(p.came)*time.Second/minBodyRate)
	if deadline.Sub(p.set) >= min(time.Second, p.timeout/4) { // not a timer's work for every read
		if p.err = p.setDeadline(deadline); p.err != nil {
			return 0, p.err
		}
		p.set = deadline
	}
	n, err := p.r.Read(b)
	p.came += int64(n)
	p.err = err
	return n, err
}
