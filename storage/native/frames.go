package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"unsafe"

	"github.com/ClickHouse/ch-go/compress"
)

// frameBytes is how much goes into one frame, uncompressed. Larger ones cost more time, 0.90 instead of 0.76 CPU-seconds per
// million logs at 256 KiB, and are 2 % smaller: LZ4 looks back 64 KiB at most.
const frameBytes = 64 << 10

// frames turns pieces of bytes into a stream of compressed frames: ClickHouse's own framing, which its HTTP interface
// reads with decompress=1 and which doc.go draws. Pieces and frames need not match. Not more than a frame is held
// uncompressed.
type frames struct {
	dst   []byte // whose end the frames are appended to
	stage []byte // of capacity frameBytes: not in a frame yet
	raw   int    // bytes that came
	w     *compress.Writer
}

// framers are ready for use, because each takes some 300 KiB. One is in use only while a block is encoded, so there are
// about as many as cores.
var framers = sync.Pool{New: func() any {
	return &frames{stage: make([]byte, 0, frameBytes), w: compress.NewWriter(0, compress.LZ4)}
}}

// framing lends frames to f, which append to dst, and returns dst with whole frames at its end and the number of bytes in
// them, uncompressed.
func framing(dst []byte, f func(*frames)) ([]byte, int) {
	w := framers.Get().(*frames)
	w.dst, w.raw = dst, 0
	// SECURITY: when f panics, w is not given back: what it holds of one tenant's block must not stand in the next one.
	f(w)
	w.flush()
	dst, raw := w.dst, w.raw
	w.dst = nil
	framers.Put(w)
	return dst, raw
}

// bytes adds p.
func (w *frames) bytes(p []byte) {
	w.raw += len(p)
	for len(p) > 0 {
		if len(w.stage) == 0 && len(p) >= frameBytes {
			w.frame(p[:frameBytes])
			p = p[frameBytes:]
			continue
		}
		n := min(len(p), frameBytes-len(w.stage))
		w.stage = append(w.stage, p[:n]...)
		p = p[n:]
		if len(w.stage) == frameBytes {
			w.flush()
		}
	}
}

func (w *frames) uint64(v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	w.bytes(b[:])
}

// times adds n times p.
func (w *frames) times(p []byte, n int) {
	for n > 0 && len(p) > 0 {
		at, k := len(w.stage), n
		if at+n*len(p) > frameBytes {
			k = (frameBytes - at) / len(p)
		}
		if k == 0 { // it goes over the end of the frame
			w.bytes(p)
			n--
			continue
		}
		w.stage = w.stage[:at+k*len(p)]
		fill(w.stage[at:], p)
		w.raw += k * len(p)
		n -= k
	}
}

// fill makes dst one p after another.
func fill(dst, p []byte) {
	if len(p) == 1 && len(dst) <= 64 { // too little for copies to be worth their calls
		for i := range dst {
			dst[i] = p[0]
		}
		return
	}
	for done := copy(dst, p); done < len(dst); {
		done += copy(dst[done:], dst[:done])
	}
}

// flush makes a frame of what is staged.
func (w *frames) flush() {
	if len(w.stage) > 0 {
		w.frame(w.stage)
		w.stage = w.stage[:0]
	}
}

func (w *frames) frame(p []byte) {
	if err := w.w.Compress(p); err != nil {
		panic("BUG: compress a frame: " + err.Error()) // its buffer is as large as LZ4 asks for
	}
	w.dst = append(w.dst, w.w.Data...)
}

// numbers adds vals, little-endian.
func numbers[T Number](w *frames, vals []T) { w.bytes(onWire(vals)) }

// onWire returns vals in little-endian order, perhaps the memory that they are in.
func onWire[T Number](vals []T) []byte {
	if len(vals) == 0 {
		return nil
	}
	if littleEndian {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(vals))), len(vals)*int(unsafe.Sizeof(vals[0])))
	}
	return swapped(vals)
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// swapped returns vals in little-endian order on a machine that has another.
func swapped[T Number](vals []T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, vals)
	if err != nil {
		panic("BUG: encode numbers: " + err.Error())
	}
	return b
}

// AppendRaw appends what is in frames, whole frames one after another, uncompressed to dst. It fails if a checksum does not
// match or the last frame is not whole.
func AppendRaw(dst, frames []byte) ([]byte, error) {
	src := bytes.NewReader(frames)
	r := compress.NewReader(src)
	buf := make([]byte, 32<<10)
	for {
		left := src.Len()
		n, err := r.Read(buf)
		dst = append(dst, buf[:n]...)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && left == 0:
			return dst, nil
		default:
			return dst, fmt.Errorf("read frame: %w", err)
		}
	}
}
