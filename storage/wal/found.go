package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// found is a segment that is not finished.
type found struct {
	segment
	err    error // why nothing of it can be understood; nil otherwise
	damage error // what of it cannot be read although it was durable; nil otherwise
	header error // what is wrong with its header
	walked bool  // it was read whole, because it does not say where it ends
	torn   int64 // bytes behind its end that were being written when the log stopped
	lost   uint64

	version uint32
	made    logID
	before  Position // of the first frame found: where the log ended before its group
	frames  bool     // there is such a frame
}

// load reads a segment's size and header.
func (f *found) load(fsys faultfs.FS, dir string) error {
	file, err := fsys.OpenFile(path.Join(dir, f.file), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if f.size, err = file.Size(); err != nil {
		return err
	}
	var b [fileHeaderBytes]byte
	if _, err := file.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return err
	}
	n, id, err := parseFileHeader(b[:], segmentMagic)
	f.made, f.version = id, le.Uint32(b[8:])
	switch {
	case errors.Is(err, ErrVersion):
		f.err = err
	case err != nil:
		f.header = err
	case n != f.number:
		f.err = fmt.Errorf("header: is of segment %d", n)
	}
	return nil
}

// unknown stands for a position that nothing tells.
const unknown = ^Position(0)

// findEnd determines where the segment ends and what of it is damaged; before is where the log ended before the
// segments that follow.
func (f *found) findEnd(fsys faultfs.FS, dir string, sync bool, id *logID, before Position) error {
	flag := os.O_RDONLY
	if sync {
		flag = os.O_RDWR
	}
	file, err := fsys.OpenFile(path.Join(dir, f.file), flag, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if sealed, err := f.readSeal(file, id); err != nil {
		return err
	} else if !sealed {
		f.walked = true
		if err := settle(file, sync); err != nil {
			return err
		}
		if err := f.walk(file, id, before); err != nil {
			return err
		}
	}
	if f.header == nil {
		return nil
	}
	// SECURITY: a frame with a checksum of this log proves that the segment is this log's.
	if f.damage = fmt.Errorf("%w: %w", f.header, ErrCorrupt); f.entries == 0 {
		f.err = f.header
	}
	return nil
}

// settle makes what is in a file durable and looks at the disk instead of the page cache from then on. What a process
// wrote that was killed is in the cache alone; what a process could not sync is there too, taken for clean, and would
// be delivered now and lost with the power.
func settle(file faultfs.File, sync bool) error {
	if !sync {
		return nil
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Forget()
}

// readSeal takes the segment's end from the seal in its last page; false when there is none.
func (f *found) readSeal(file faultfs.File, id *logID) (bool, error) {
	off := f.size - pageBytes
	if off < firstOffset || off%pageBytes != 0 {
		return false, nil
	}
	w := walk(file, id, f.number, f.size, false)
	w.off = off
	if h, ok, err := w.header(off); err != nil || !ok || h.kind != kindSeal {
		return false, err
	}
	if _, _, _, err := w.step(); err != nil || w.seal == nil || alignUp(w.seal.end, pageBytes) != off {
		return false, err
	}
	f.sealed, f.end, f.entries, f.bytes = true, w.seal.end, w.seal.entries, w.seal.bytes
	f.first, f.next, f.last = w.seal.first, w.next, at(f.number, w.seal.last)
	f.oldest, f.newest = w.seal.oldest, w.seal.newest
	// The first frame says where the log ended before this segment.
	b := make([]byte, frameBytes)
	if _, err := file.ReadAt(b, firstOffset); err != nil {
		return true, err
	}
	var h frame
	if h, f.frames = parseFrame(b, id, at(f.number, firstOffset)); f.frames {
		f.before, f.frames = h.durable, h.kind == kindEntry
	}
	return true, nil
}

// walk reads a segment that does not say where it ends. What begins before must was durable: later groups say so.
func (f *found) walk(file faultfs.File, id *logID, before Position) error {
	limit, must, exact := f.size, int64(0), false
	switch n := before.Segment(); {
	case before == unknown:
	case n == f.number:
		limit, must, exact = min(f.size, before.Offset()), before.Offset(), true
	case n < f.number: // the log had ended before this segment: nothing of it was acknowledged
		limit, must, exact = firstOffset, firstOffset, true
	default:
		must = f.size
	}
	w := walk(file, id, f.number, limit, true)
	for {
		_, h, ok, err := w.step()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if !f.frames {
			f.frames, f.before = true, h.durable
		}
		if h.durable.Segment() == f.number {
			must = max(must, h.durable.Offset())
		}
	}
	if w.seal != nil {
		f.sealed, must, exact, limit = true, w.seal.end, true, w.seal.end
	}
	cut := limit // where the first tear begins
	for _, h := range w.holes {
		if h.start >= must {
			cut = h.start
			break
		}
	}
	if err := f.summarize(file, id, cut); err != nil {
		return err
	}
	for _, h := range w.holes {
		if h.start < must {
			f.damage = fmt.Errorf("bytes %d to %d: %w", h.start, h.end, ErrCorrupt)
			break
		}
	}
	if w.seal != nil && f.entries > 0 {
		f.lost += f.first - min(f.first, w.seal.first) + w.next - min(w.next, f.next)
		f.first, f.next = w.seal.first, w.next
	}
	if exact && f.damage == nil && f.end < must {
		f.damage = fmt.Errorf("bytes %d to %d: %w", f.end, must, ErrCorrupt)
	}
	if f.damage == nil && f.lost > 0 {
		f.damage = fmt.Errorf("%d entries are missing: %w", f.lost, ErrCorrupt)
	}
	if exact && must > f.end {
		f.end = must
	}
	return f.measureTear(file)
}

// summarize counts the entries before limit.
func (f *found) summarize(file faultfs.File, id *logID, limit int64) error {
	w := walk(file, id, f.number, limit, true)
	f.end = firstOffset
	for {
		off, h, ok, err := w.step()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if f.entries == 0 {
			f.first, f.oldest = h.seq, h.written
		}
		f.entries++
		f.bytes += int64(h.size)
		f.next, f.newest, f.last, f.end = h.seq+1, h.written, at(f.number, off), h.end(off)
	}
	f.lost = w.lost
	return nil
}

// measureTear sets how many bytes behind the end were being written.
func (f *found) measureTear(file faultfs.File) error {
	r := reader{f: file, size: f.size}
	for off := f.end; off < f.size; {
		n := min(f.size-off, maxAhead)
		b, err := r.bytes(off, int(n))
		if err == io.ErrUnexpectedEOF {
			break // its writer has just sealed it
		} else if err != nil {
			return err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != 0 {
				f.torn = off + int64(i) + 1 - f.end
				break
			}
		}
		off += n
	}
	if f.sealed {
		f.torn = 0
	}
	return nil
}
