package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// A reader reads a file forward. It looks ahead the further the more of what it read was asked for.
type reader struct {
	f     io.ReaderAt
	size  int64 // nothing is read behind it
	buf   []byte
	off   int64 // of buf in the file
	ahead int
	// lenient makes pages that the disk cannot read any more read as zeros; bad says that there was one.
	lenient bool
	bad     error
}

const (
	minAhead = pageBytes
	maxAhead = 256 << 10
)

// bytes returns n bytes from off on, valid until the next call. io.ErrUnexpectedEOF when the file ends before.
func (r *reader) bytes(off int64, n int) ([]byte, error) {
	have := r.off + int64(len(r.buf))
	if off >= r.off && off+int64(n) <= have {
		return r.buf[off-r.off:][:n], nil
	}
	if off <= have {
		r.ahead = min(max(2*r.ahead, minAhead), maxAhead)
	} else {
		r.ahead = max(r.ahead/2, minAhead)
	}
	want := int(min(int64(max(n, r.ahead)), max(r.size-off, 0)))
	if want < n {
		return nil, io.ErrUnexpectedEOF
	}
	if cap(r.buf) < want {
		r.buf = make([]byte, want)
	}
	r.buf, r.off = r.buf[:want], off
	got, err := r.f.ReadAt(r.buf, off)
	if err != nil && err != io.EOF {
		if !r.lenient || errors.Is(err, fs.ErrClosed) {
			r.buf = r.buf[:0]
			return nil, err
		}
		r.bad = err
		got = r.salvage()
	}
	r.buf = r.buf[:got]
	if got < n {
		return nil, io.ErrUnexpectedEOF
	}
	return r.buf[:n], nil
}

// salvage fills the buffer page by page, with zeros where the disk cannot read, and returns how far the file goes.
func (r *reader) salvage() int {
	for done := 0; done < len(r.buf); {
		page := r.buf[done:min(done+pageBytes, len(r.buf))]
		n, err := r.f.ReadAt(page, r.off+int64(done))
		if err == io.EOF {
			return done + n
		}
		if err != nil {
			clear(page)
		}
		done += len(page)
	}
	return len(r.buf)
}

// A hole is a place in a segment that is no frame though there are frames behind it.
type hole struct{ start, end int64 }

// A walker finds the frames of one segment in order.
type walker struct {
	r      reader
	id     *logID
	number uint32
	off    int64 // where the next frame should be
	limit  int64 // no frame ends behind it
	full   bool  // check payloads, not only headers

	last  int64  // where the last good frame ended
	holes []hole // so far
	seal  *seal  // once found; nothing is behind it
	first uint64 // sequence number of the first entry found, 0 before it
	next  uint64 // sequence number that the next entry should have, 0 before the first
	lost  uint64 // sequence numbers that are missing so far
}

func walk(f io.ReaderAt, id *logID, number uint32, limit int64, full bool) *walker {
	return &walker{
		r: reader{f: f, size: limit}, id: id, number: number, off: firstOffset, limit: limit, last: firstOffset, full: full,
	}
}

// step returns the next entry's frame and its offset, false at the end.
func (w *walker) step() (int64, frame, bool, error) {
	for {
		off, f, ok, err := w.find()
		if err != nil || !ok {
			return 0, f, false, err
		}
		w.off = f.end(off)
		if w.full && f.kind == kindEntry {
			good, err := w.payloadGood(off, &f)
			if err != nil {
				return 0, f, false, err
			}
			if !good {
				w.holes = append(w.holes, hole{off, w.off})
				continue
			}
		}
		w.last = w.off
		if w.next != 0 && f.seq > w.next {
			w.lost += f.seq - w.next
		}
		w.next = f.seq
		if f.kind == kindSeal {
			b, err := w.r.bytes(off+frameBytes, sealBytes)
			if err != nil {
				return 0, f, false, err
			}
			s := parseSeal(b)
			w.seal, w.last, w.limit = &s, s.end, w.off
			if w.first == 0 {
				w.first = f.seq
			}
			w.lost += w.first - min(w.first, s.first)
			return 0, f, false, nil
		}
		if w.first == 0 {
			w.first = f.seq
		}
		w.next++
		return off, f, true, nil
	}
}

// find returns the next header that is good, skipping what is none.
func (w *walker) find() (int64, frame, bool, error) {
	for w.off+frameBytes <= w.limit {
		f, ok, err := w.header(w.off)
		if err != nil || ok {
			return w.off, f, ok, err
		}
		if f.kind == 0 && w.off%pageBytes != 0 {
			w.off = alignUp(w.off, pageBytes) // the end of a group
			continue
		}
		behind, f, ok, err := w.search(w.off + frameAlign)
		if err != nil || !ok {
			return 0, f, false, err
		}
		// A group that says it came right after the last good frame: only the padding between them is damaged.
		if f.durable != at(w.number, w.last) || behind != alignUp(w.last, pageBytes) {
			w.holes = append(w.holes, hole{w.off, behind})
		}
		w.off = behind
		return behind, f, true, nil
	}
	return 0, frame{}, false, nil
}

// search looks for a frame at every place from off on, and takes only one whose payload is good as well.
func (w *walker) search(off int64) (int64, frame, bool, error) {
	for ; off+frameBytes <= w.limit; off += frameAlign {
		b, err := w.r.bytes(off, frameBytes)
		if err != nil && err != io.ErrUnexpectedEOF {
			return 0, frame{}, false, err
		}
		if err == nil && le.Uint32(b) != kindEntry && le.Uint32(b) != kindSeal {
			continue
		}
		f, ok, err := w.header(off)
		if err != nil {
			return 0, f, false, err
		}
		if ok {
			good, err := w.payloadGood(off, &f)
			if err != nil || good {
				return off, f, good, err
			}
		}
	}
	return 0, frame{}, false, nil
}

// header reads the header at off; false when there is none, or when the frame would not fit.
func (w *walker) header(off int64) (frame, bool, error) {
	b, err := w.r.bytes(off, frameBytes)
	if err == io.ErrUnexpectedEOF {
		return frame{kind: kindEntry}, false, nil // the file is shorter than it should be
	}
	if err != nil {
		return frame{}, false, err
	}
	f, ok := parseFrame(b, w.id, at(w.number, off))
	if ok && (f.end(off) > w.limit || f.kind == kindSeal && off%pageBytes != 0) {
		ok = false
	}
	if ok && f.kind == kindSeal {
		ok, err = w.payloadGood(off, &f)
	}
	return f, ok, err
}

// payloadGood checks the payload of the frame at off in pieces.
func (w *walker) payloadGood(off int64, f *frame) (bool, error) {
	sum, at, end := w.id.payloadSeed(), off+frameBytes, off+frameBytes+int64(f.size)
	head := at + int64(f.headSize)
	for at < end {
		n := min(end-at, maxAhead)
		if at < head {
			n = min(n, head-at)
		}
		b, err := w.r.bytes(at, int(n))
		if err == io.ErrUnexpectedEOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		if at += n; at == head && sum != f.headSum {
			return false, nil
		}
	}
	return sum == f.payloadSum, nil
}

// damage says what the walker could not read before end, nil when it read everything. An end that is not known is
// negative.
func (w *walker) damage(end int64) error {
	for _, h := range w.holes {
		if end < 0 || h.start < end {
			return fmt.Errorf("bytes %d to %d: %w", h.start, h.end, ErrCorrupt)
		}
	}
	if w.last < end {
		return fmt.Errorf("bytes %d to %d: %w", w.last, end, ErrCorrupt)
	}
	if w.lost > 0 {
		return fmt.Errorf("%d entries are missing: %w", w.lost, ErrCorrupt)
	}
	return nil
}
