package wal

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// A segment is what is known of a segment file that was not deleted. Log.mu guards the ones of a Log.
type segment struct {
	number  uint32
	file    string // its name
	aside   bool   // it is set aside: it was damaged
	sealed  bool   // nothing is written to it any more and it says so itself
	size    int64  // of the file
	end     int64  // where the last durable entry ends
	entries uint64 // durable ones
	bytes   int64  // their payloads
	first   uint64 // sequence number of the first entry
	next    uint64 // sequence number after the last entry
	oldest  uint32 // when the first entry was written, s since 1970
	newest  uint32
	last    Position // of the last entry
}

const (
	lockName       = "lock"
	checkpointName = "checkpoint"
	segmentSuffix  = ".wal"
	asideSuffix    = ".aside"
	tmpSuffix      = ".tmp"
)

func fileName(number uint32, suffix string) string { return fmt.Sprintf("%010d%s", number, suffix) }

// parseName returns the number and suffix of a segment's file name.
func parseName(name string) (number uint32, suffix string, ok bool) {
	const digits = 10
	if len(name) <= digits {
		return 0, "", false
	}
	var n uint64
	for _, c := range []byte(name[:digits]) {
		if c < '0' || c > '9' {
			return 0, "", false
		}
		n = n*10 + uint64(c-'0')
	}
	suffix = name[digits:]
	if n == 0 || n > 1<<32-1 || suffix != segmentSuffix && suffix != tmpSuffix && !strings.HasPrefix(suffix, asideSuffix) {
		return 0, "", false
	}
	return uint32(n), suffix, true
}

// A preparation is a segment file being made ready to be written.
type preparation struct {
	done chan struct{} // closed when the fields below are set
	seg  *segment
	file faultfs.File
	err  error
}

// prepare makes the file of the next segment: allocated, with its header, durable together with its name. Until then
// it has another name, so a file that is called a segment always has a header.
func (l *Log) prepare(p *preparation) {
	number := p.seg.number
	name := fileName(number, segmentSuffix)
	tmp := l.path(fileName(number, tmpSuffix))
	p.file, p.err = l.createSegment(tmp, number)
	if p.err == nil {
		if p.err = l.fs.Rename(tmp, l.path(name)); p.err == nil {
			tmp = l.path(name)
			// Before anything in it is acknowledged, its name must be durable.
			p.err = l.fs.SyncDir(l.dir)
		}
	}
	if p.err != nil {
		if p.file != nil {
			p.err = errors.Join(p.err, p.file.Close())
			p.file = nil
		}
		_ = l.fs.Remove(tmp) // nothing is in it; recovery removes it otherwise
		p.err = fmt.Errorf("prepare segment %s: %w", name, p.err)
		return
	}
	p.seg = &segment{number: number, file: name, size: l.opt.SegmentBytes, end: firstOffset}
}

// createSegment makes a segment file under a preliminary name. The file is nil only when it could not be made at all.
func (l *Log) createSegment(name string, number uint32) (faultfs.File, error) {
	f, err := l.fs.OpenFile(name, openNew, 0o600)
	if err != nil {
		return nil, err
	}
	err = f.Preallocate(l.opt.SegmentBytes)
	if errors.Is(err, errors.ErrUnsupported) {
		err = f.Truncate(l.opt.SegmentBytes)
	}
	if err != nil {
		return f, err
	}
	page := make([]byte, pageBytes)
	putFileHeader(page, segmentMagic, number, &l.id, l.opt.Now())
	if _, err := f.WriteAt(0, page); err != nil {
		return f, err
	}
	return f, f.Sync()
}

// seal writes behind the last entry that it is the last, and gives the rest of the file back. The order makes every
// crash harmless: without a seal the segment is read like the current one, with it the rest is of no interest.
func (l *Log) seal(s segment, f faultfs.File) (size int64, err error) {
	page := make([]byte, pageBytes)
	payload := page[frameBytes:][:sealBytes]
	(&seal{
		entries: s.entries, first: s.first, last: s.last.Offset(), end: s.end, bytes: s.bytes,
		oldest: s.oldest, newest: s.newest,
	}).put(payload)
	off := alignUp(s.end, pageBytes)
	h := frame{kind: kindSeal, size: sealBytes, durable: at(s.number, s.end), seq: s.next, written: seconds(l.opt.Now())}
	h.headSum, h.payloadSum = checksums(&l.id, 0, payload)
	h.put(page, &l.id, at(s.number, off))
	if _, err := f.WriteAt(off, page); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return off + pageBytes, f.Truncate(off + pageBytes)
}

func (l *Log) path(name string) string { return path.Join(l.dir, name) }
