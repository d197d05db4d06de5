package engine

import (
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
)

// output writes one response. It holds back the first bytes, so that an early failure still gets its status; a failure
// after that ends the body with an exception block and breaks the connection off, as a server does. Not for concurrent use.
type output struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	stall time.Duration

	hold      int // bytes held back
	buf       []byte
	committed bool
	tag       string // of the exception block

	blocks *compress.Writer // nil: no block framing
	zip    *gzip.Writer     // nil: no gzip
}

const (
	holdBytes         = 64 << 10
	holdBytesBuffered = 16 << 20 // with wait_end_of_query
	maxFrameBytes     = 1 << 20
	maxExceptionBytes = 16 << 10 // what clients look for
)

func newOutput(w http.ResponseWriter, q *request, stall time.Duration) *output {
	o := &output{w: w, rc: http.NewResponseController(w), stall: stall, hold: holdBytes, tag: rand.Text()[:16]}
	if q.buffered {
		o.hold = holdBytesBuffered
	}
	if q.compress {
		method := compress.LZ4
		if strings.EqualFold(q.method, "ZSTD") {
			method = compress.ZSTD
		}
		o.blocks = compress.NewWriter(compress.LevelZero, method)
	}
	if q.gzip {
		o.zip = gzip.NewWriter(w)
	}
	return o
}

// Write takes result bytes. An error means that the client is gone.
func (o *output) Write(p []byte) (int, error) {
	if o.blocks == nil && o.committed {
		return len(p), o.send(p)
	}
	o.buf = append(o.buf, p...)
	if len(o.buf) < o.hold {
		return len(p), nil
	}
	return len(p), o.flush()
}

// flush sends what is held back.
func (o *output) flush() error {
	o.commit()
	for len(o.buf) > 0 && o.blocks != nil {
		n := min(len(o.buf), maxFrameBytes)
		if err := o.blocks.Compress(o.buf[:n]); err != nil {
			return err
		}
		if err := o.send(o.blocks.Data); err != nil {
			return err
		}
		o.buf = o.buf[n:]
	}
	err := o.send(o.buf)
	o.buf = o.buf[:0]
	return err
}

func (o *output) send(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	o.extend()
	if o.zip != nil {
		_, err := o.zip.Write(p)
		return err
	}
	_, err := o.w.Write(p)
	return err
}

// extend gives the client the stall timeout to take what comes next.
func (o *output) extend() { _ = o.rc.SetWriteDeadline(time.Now().Add(o.stall)) }

func (o *output) commit() {
	if o.committed {
		return
	}
	o.extend()
	o.committed = true
	o.hold = holdBytes
	h := o.w.Header()
	h.Set("X-ClickHouse-Exception-Tag", o.tag)
	if o.zip != nil {
		h.Set("Content-Encoding", "gzip")
	}
	o.w.WriteHeader(http.StatusOK)
}

// finish ends a response that went well.
func (o *output) finish(st stats, elapsed time.Duration) error {
	if !o.committed {
		o.w.Header().Set("X-ClickHouse-Summary", summary(st, elapsed))
		if len(o.buf) == 0 { // no encoding of nothing: the driver looks at Content-Length 0
			o.zip = nil
		}
	}
	if err := o.flush(); err != nil {
		return err
	}
	o.extend()
	if o.zip != nil {
		return o.zip.Close()
	}
	return nil
}

// fail ends a response with e: as status and text, or, when the body has begun, as an exception block and a broken
// connection. It panics with http.ErrAbortHandler then, which is how net/http breaks off.
func (o *output) fail(e *exception) {
	o.extend()
	if !o.committed {
		writeException(o.w, e)
		return
	}
	text := e.text
	if len(text) > maxExceptionBytes-256 {
		text = strings.ToValidUTF8(text[:maxExceptionBytes-256], "")
	}
	if err := o.flush(); err == nil {
		// Never in block framing: clients search the raw stream for it.
		_ = o.send(fmt.Appendf(nil, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", o.tag, text, len(text)+1, o.tag))
		if o.zip != nil {
			_ = o.zip.Flush()
		}
		_ = o.rc.Flush()
	}
	panic(http.ErrAbortHandler)
}

// writeException answers a request that has no byte of a result yet.
func writeException(w http.ResponseWriter, e *exception) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.code))
	w.WriteHeader(e.httpStatus())
	_, _ = w.Write([]byte(e.text + "\n"))
}

// summary is the X-ClickHouse-Summary header: numbers as strings.
func summary(st stats, elapsed time.Duration) string {
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	b, _ := json.Marshal(map[string]string{
		"read_rows": n(st.readRows), "read_bytes": n(st.readBytes),
		"written_rows": n(st.writtenRows), "written_bytes": n(st.writtenBytes),
		"result_rows": n(st.resultRows), "elapsed_ns": n(uint64(elapsed)),
	})
	return string(b)
}
