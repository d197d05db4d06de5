package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

const (
	version = 1

	pageBytes       = 4096
	fileHeaderBytes = 64 // of segments and of the checkpoint
	frameBytes      = 48 // without payload
	frameAlign      = 8
	sealBytes       = 48 // a seal's payload
	firstOffset     = pageBytes

	kindEntry = 0x5ea1f7a3
	kindSeal  = 0x5ea1f7a4
)

var (
	segmentMagic    = []byte("hgwal\r\n\x00")
	checkpointMagic = []byte("hgckp\r\n\x00")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

// A logID is drawn at random when a log is made and enters every checksum.
//
// SECURITY: entries are made by clients, and recovery searches damaged segments for frames byte by byte. A client who
// knew the id could put a frame into an entry that recovery would take for one of another tenant. The id is never
// shown, and header and payload use different parts of it.
type logID [16]byte

// payloadSeed is what the checksum of each payload starts from.
func (id *logID) payloadSeed() uint32 { return crc32.Checksum(id[:8], castagnoli) }

// seed is what the checksum of a frame's header at p starts from: that of the other part of the id, continued over p.
// It is computed here, since package crc32 would move the eight bytes to the heap.
func (id *logID) seed(p Position) uint32 {
	sum := ^crc32.Checksum(id[8:], castagnoli)
	for range 8 {
		sum = castagnoli[byte(sum)^byte(p)] ^ sum>>8
		p >>= 8
	}
	return ^sum
}

// A frame is a frame's header.
type frame struct {
	kind       uint32
	size       uint32 // of the payload
	headSize   uint32
	headSum    uint32
	payloadSum uint32
	durable    Position
	seq        uint64
	written    uint32 // s since 1970
}

// put encodes f for the place p into b.
func (f *frame) put(b []byte, id *logID, p Position) {
	_ = b[frameBytes-1]
	le.PutUint32(b, f.kind)
	le.PutUint32(b[4:], f.size)
	le.PutUint32(b[8:], f.headSize)
	le.PutUint32(b[12:], f.headSum)
	le.PutUint32(b[16:], f.payloadSum)
	le.PutUint32(b[20:], 0)
	le.PutUint64(b[24:], uint64(f.durable))
	le.PutUint64(b[32:], f.seq)
	le.PutUint32(b[40:], f.written)
	le.PutUint32(b[44:], crc32.Update(id.seed(p), castagnoli, b[:44]))
}

// parseFrame decodes the frame header at the place p; false when there is none.
func parseFrame(b []byte, id *logID, p Position) (frame, bool) {
	_ = b[frameBytes-1]
	f := frame{
		kind:       le.Uint32(b),
		size:       le.Uint32(b[4:]),
		headSize:   le.Uint32(b[8:]),
		headSum:    le.Uint32(b[12:]),
		payloadSum: le.Uint32(b[16:]),
		durable:    Position(le.Uint64(b[24:])),
		seq:        le.Uint64(b[32:]),
		written:    le.Uint32(b[40:]),
	}
	if f.kind != kindEntry && f.kind != kindSeal {
		return f, false
	}
	if crc32.Update(id.seed(p), castagnoli, b[:44]) != le.Uint32(b[44:]) {
		return f, false
	}
	return f, f.headSize <= f.size && (f.kind != kindSeal || f.size == sealBytes)
}

// end returns where a frame at off ends, the padding included.
func (f *frame) end(off int64) int64 { return alignUp(off+frameBytes+int64(f.size), frameAlign) }

// A seal is what the last frame of a segment says about it.
type seal struct {
	entries uint64
	first   uint64 // sequence number of the first entry
	last    int64  // offset of the last entry
	end     int64  // offset at which it ended
	bytes   int64  // payloads of all entries
	oldest  uint32 // s since 1970
	newest  uint32
}

func (s *seal) put(b []byte) {
	le.PutUint64(b, s.entries)
	le.PutUint64(b[8:], s.first)
	le.PutUint64(b[16:], uint64(s.last))
	le.PutUint64(b[24:], uint64(s.end))
	le.PutUint64(b[32:], uint64(s.bytes))
	le.PutUint32(b[40:], s.oldest)
	le.PutUint32(b[44:], s.newest)
}

func parseSeal(b []byte) seal {
	return seal{
		entries: le.Uint64(b), first: le.Uint64(b[8:]), last: int64(le.Uint64(b[16:])), end: int64(le.Uint64(b[24:])),
		bytes: int64(le.Uint64(b[32:])), oldest: le.Uint32(b[40:]), newest: le.Uint32(b[44:]),
	}
}

var (
	errNoHeader  = errors.New("header: not one of a log")
	errHeaderSum = errors.New("header: checksum mismatch")
)

// putFileHeader encodes the first 64 bytes of a segment or checkpoint file.
func putFileHeader(b, magic []byte, number uint32, id *logID, made time.Time) {
	clear(b[:fileHeaderBytes])
	copy(b, magic)
	le.PutUint32(b[8:], version)
	le.PutUint32(b[12:], number)
	copy(b[16:], id[:])
	if !made.IsZero() {
		le.PutUint64(b[32:], uint64(made.UnixNano()))
	}
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
}

// parseFileHeader decodes what putFileHeader wrote. ErrVersion, errNoHeader or errHeaderSum when it cannot.
func parseFileHeader(b, magic []byte) (number uint32, id logID, err error) {
	if !bytes.Equal(b[:8], magic) {
		return 0, id, errNoHeader
	}
	if crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]) {
		return 0, id, errHeaderSum
	}
	if v := le.Uint32(b[8:]); v != version {
		return 0, id, fmt.Errorf("header: version %d: %w", v, ErrVersion)
	}
	copy(id[:], b[16:])
	return le.Uint32(b[12:]), id, nil
}

func alignUp(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }

// seconds clamps t into what a frame can say.
func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}
