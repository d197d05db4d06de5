package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// Scan calls fn for every entry that is not finished, in order, up to those that were durable when Scan began. The
// payload is valid during fn. An error of fn ends the scan and is returned.
//
// What cannot be read is skipped: it is logged, counted in Stats.Lost, and its segment set aside.
func (l *Log) Scan(fn func(p Position, payload []byte) error) error {
	return l.scan(func(w *walker, off int64, h *frame) ([]byte, bool, error) {
		b, err := w.r.bytes(off+frameBytes, int(h.size))
		if err != nil {
			return nil, false, err
		}
		return b, crc32.Update(l.id.payloadSeed(), castagnoli, b) == h.payloadSum, nil
	}, func(p Position, b []byte, _ int) error { return fn(p, b) })
}

// ScanHeads is Scan for the entries' heads alone, see Append; size is the length of the whole payload. The rest of an
// entry is not read, and its checksum not looked at before Read.
func (l *Log) ScanHeads(fn func(p Position, head []byte, size int) error) error {
	return l.scan(func(w *walker, off int64, h *frame) ([]byte, bool, error) {
		if h.headSize > MaxHeadBytes {
			return nil, false, nil
		}
		b, err := w.r.bytes(off+frameBytes, int(h.headSize))
		if err != nil {
			return nil, false, err
		}
		return b, crc32.Update(l.id.payloadSeed(), castagnoli, b) == h.headSum, nil
	}, fn)
}

type (
	readFunc func(w *walker, off int64, h *frame) (b []byte, good bool, err error)
	headFunc func(p Position, b []byte, size int) error
)

func (l *Log) scan(read readFunc, fn headFunc) error {
	l.mu.Lock()
	type view struct {
		s       *segment
		end     int64
		entries uint64
	}
	live := make([]view, 0, len(l.segments))
	for _, s := range l.segments {
		if s.number >= l.checkpoint && s.entries > 0 {
			live = append(live, view{s, s.end, s.entries})
		}
	}
	l.mu.Unlock()
	var buf []byte
	for _, v := range live {
		f, err := l.openSegment(v.s)
		if errors.Is(err, ErrNotFound) {
			continue // finished meanwhile
		} else if err != nil {
			return err
		}
		w := walk(f, &l.id, v.s.number, v.end, false)
		w.r.lenient, w.r.buf = true, buf[:0]
		err = l.scanSegment(v.s, v.entries, w, read, fn)
		buf = w.r.buf
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scanSegment delivers what can be read of a segment that should have the given number of entries.
func (l *Log) scanSegment(s *segment, entries uint64, w *walker, read readFunc, fn headFunc) error {
	var damage error
	for {
		off, h, ok, err := w.step()
		if err != nil {
			return fmt.Errorf("segment %d: %w", w.number, err)
		}
		if !ok {
			break
		}
		b, good, err := read(w, off, &h)
		if err != nil && err != io.ErrUnexpectedEOF {
			return fmt.Errorf("segment %d: %w", w.number, err)
		}
		if err != nil || !good {
			damage = fmt.Errorf("entry at %d: %w", off, ErrCorrupt)
			continue
		}
		entries -= min(entries, 1)
		if err := fn(at(s.number, off), b, int(h.size)); err != nil {
			return err
		}
	}
	if damage == nil {
		damage = w.damage(w.limit)
	}
	if damage != nil {
		return l.foundDamage(s, errors.Join(damage, w.r.bad), entries)
	}
	return nil
}

// Read appends the payload of the entry at p to dst and returns it, its checksum verified. It may be called at any
// time. ErrNotFound when the log does not hold p, or not any more; ErrCorrupt when it cannot be read, and then its
// segment is set aside.
func (l *Log) Read(p Position, dst []byte) ([]byte, error) {
	s, end := l.find(p)
	if s == nil {
		return dst, fmt.Errorf("%w: %v", ErrNotFound, p)
	}
	f, err := l.openSegment(s)
	if err != nil {
		return dst, err
	}
	b, err := l.readEntry(f, p, end, dst)
	if err = errors.Join(err, f.Close()); err != nil {
		if err = fmt.Errorf("read %v: %w", p, err); errors.Is(err, ErrCorrupt) {
			err = errors.Join(err, l.foundDamage(s, err, 1))
		}
		return dst, err
	}
	return b, nil
}

func (l *Log) readEntry(f faultfs.File, p Position, end int64, dst []byte) ([]byte, error) {
	n := len(dst)
	dst = append(dst, zeros[:frameBytes]...)
	if _, err := f.ReadAt(dst[n:], p.Offset()); err != nil {
		return nil, eof(err)
	}
	h, ok := parseFrame(dst[n:], &l.id, p)
	if !ok || h.kind != kindEntry || h.end(p.Offset()) > end {
		return nil, fmt.Errorf("header: %w", ErrCorrupt)
	}
	size := int(h.size)
	if cap(dst)-n < size {
		dst = append(make([]byte, 0, n+size), dst[:n]...)
	}
	dst = dst[:n+size]
	if _, err := f.ReadAt(dst[n:], p.Offset()+frameBytes); err != nil {
		return nil, eof(err)
	}
	if crc32.Update(l.id.payloadSeed(), castagnoli, dst[n:]) != h.payloadSum {
		return nil, fmt.Errorf("payload of %d bytes: %w", size, ErrCorrupt)
	}
	return dst, nil
}

// eof turns the end of a file that should be longer into what it is.
func eof(err error) error {
	if err == io.EOF {
		return fmt.Errorf("file is too short: %w", ErrCorrupt)
	}
	return err
}

// find returns the segment that holds p and where its durable entries end, nil when none does.
func (l *Log) find(p Position) (*segment, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.number == p.Segment() && s.number >= l.checkpoint {
			if p.Offset() >= firstOffset && p.Offset()%frameAlign == 0 && p.Offset() < s.end {
				return s, s.end
			}
			break
		}
	}
	return nil, 0
}

// openSegment opens a segment to be read. It may be renamed or deleted at the same time: ErrNotFound when it is gone.
func (l *Log) openSegment(s *segment) (faultfs.File, error) {
	name, _ := l.whereabouts(s)
	f, err := l.fs.OpenFile(l.path(name), os.O_RDONLY, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	l.deleting.Lock() // held by who renames or deletes
	defer l.deleting.Unlock()
	name, finished := l.whereabouts(s)
	if finished {
		return nil, fmt.Errorf("%w: segment %d is finished", ErrNotFound, s.number)
	}
	return l.fs.OpenFile(l.path(name), os.O_RDONLY, 0)
}

// whereabouts returns the name of a segment's file, and whether it may be gone.
func (l *Log) whereabouts(s *segment) (name string, finished bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.file, s.number < l.checkpoint
}

// foundDamage sets a segment aside in which something durable could not be read.
func (l *Log) foundDamage(s *segment, cause error, lost uint64) error {
	l.deleting.Lock() // it must not be deleted meanwhile
	defer l.deleting.Unlock()
	l.mu.Lock()
	known, size, finished := s.aside, s.size, s.number < l.checkpoint
	l.mu.Unlock()
	if known || finished {
		return nil
	}
	l.stats.lose(lost)
	l.stats.setAside(1, size)
	l.stats.fail(l.opt.Now(), cause)
	l.logger.Error("segment is damaged and set aside", "segment", s.number, "entries", lost, "err", cause)
	return l.renameAside(s)
}
