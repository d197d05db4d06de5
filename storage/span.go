package storage

import (
	"math"
	"sort"
	"time"
)

// segment is what is known of a segment of the log that holds unfinished requests.
type segment struct {
	unfinished int           // requests
	appending  int           // appends that may yet land here
	received   map[int64]int // of those, by their receive time in unix nanoseconds
	spans      []span        // in the order of their positions
	last       position      // the greatest that was added
}

// span is the requests of a segment from a position to the next span's, which were received in about a second: under a steady load
// the segment's oldest request that is unfinished is not its oldest of all.
type span struct {
	from       position // of all but the first span
	began      int64    // receive time of its first request, in unix nanoseconds
	oldest     int64    // the earliest of all
	unfinished int
}

const spanLength = int64(time.Second)

func newSegment() *segment { return &segment{received: map[int64]int{}} }

func (s *segment) begin(received int64) {
	s.appending++
	s.received[received]++
}

func (s *segment) end(received int64) {
	s.appending--
	if s.received[received]--; s.received[received] == 0 {
		delete(s.received, received)
	}
}

// add counts an unfinished request. A span begins behind everything that was added before, so that no request changes its span.
func (s *segment) add(at position, received int64) {
	n := len(s.spans)
	if n == 0 || at > s.last && received-s.spans[n-1].began >= spanLength {
		s.spans = append(s.spans, span{from: at, began: received, oldest: received})
	}
	s.last = max(s.last, at)
	x := s.spanOf(at)
	x.unfinished++
	x.oldest = min(x.oldest, received)
	s.unfinished++
}

// done takes back add.
func (s *segment) done(at position) {
	s.spanOf(at).unfinished--
	s.unfinished--
}

func (s *segment) spanOf(at position) *span {
	after := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].from > at })
	return &s.spans[max(after-1, 0)]
}

// oldest returns a receive time that no unfinished request is older than, in unix nanoseconds; math.MaxInt64 where there is none.
func (s *segment) oldest() int64 {
	oldest := int64(math.MaxInt64)
	for received := range s.received {
		oldest = min(oldest, received)
	}
	for i := range s.spans {
		if x := &s.spans[i]; x.unfinished > 0 {
			oldest = min(oldest, x.oldest)
		}
	}
	return oldest
}
