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
}

func (p *pacedReader) Read(b []byte) (int, error) {
	deadline := p.start.Add(p.timeout + time.Duration(p.came)*time.Second/minBodyRate)
	if deadline.Sub(p.set) >= time.Second { // one more system call per second's worth of bytes, not per read
		if err := p.setDeadline(deadline); err != nil {
			return 0, err
		}
		p.set = deadline
	}
	n, err := p.r.Read(b)
	p.came += int64(n)
	return n, err
}
