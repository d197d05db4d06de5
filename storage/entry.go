package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/native"
)

// Rows are rows of one table and one placement.
type Rows struct {
	Table     string   // one of schema.Tables
	Partition string   // value of the column Partition in every row
	Days      []uint16 // distinct days since 1970-01-01 UTC of the rows' partitioning time; at most MaxPartitions
	Block     native.Block
}

// Request is what one acked request leaves behind: its rows and its receipt.
type Request struct {
	Tenant   tenant.ID
	Signal   string    // one of Signals: requests of one signal share runs
	Received time.Time // the time of the receipt
	Receipt  []byte    // opaque; handed to the ledger when the rows are in ClickHouse
	Rows     []Rows

	Fingerprint Fingerprint // by which Recall knows the request again; zero is never
	Rejected    int64       // records, for Recall
}

// The kinds of log entries, an entry's first byte. A change of an entry's form takes a new kind, and the old one stays
// readable: an upgrade finds the entries of the version before.
const (
	kindRequest = 1
	kindRuns    = 2
)

// A request entry is
//
//	kind    1 byte
//	length  uint32, of the head
//	head    signal, tenant string; received int64, unix nanoseconds; receipt bytes; fingerprint 16 bytes; rejected uvarint;
//	        origin string; tables uvarint, and of each
//	        table, partition string; rows, columns, raw, length uvarint; days uvarint and uint16 each
//	blocks  of the tables, one after another, as native.Block has them
//
// where a string is its length as uvarint and its bytes, and fixed-width numbers are little-endian.
type head struct {
	signal   string
	tenant   string
	received int64
	receipt  []byte
	print    Fingerprint
	rejected int64
	origin   string // the rejected request that this one is the replay of; "" is none
	tables   []tableHead
}

// tableHead is a request's rows of one table.
type tableHead struct {
	table, partition string
	rows, columns    int
	raw              int // bytes of the block before it was compressed
	from, to         int // the block within the entry
	days             []uint16
}

const headPrefix = 5

// headOf returns the head of r's entry. The blocks' places in the entry are relative to its head's end.
func headOf(r Request) head {
	h := head{signal: r.Signal, tenant: r.Tenant.String(), received: r.Received.UnixNano(), receipt: r.Receipt,
		print: r.Fingerprint, rejected: r.Rejected, tables: make([]tableHead, len(r.Rows))}
	at := 0
	for i, t := range r.Rows {
		end := at + len(t.Block.Data)
		h.tables[i] = tableHead{table: t.Table, partition: t.Partition, rows: t.Block.Rows, columns: t.Block.Columns,
			raw: t.Block.Raw, from: at, to: end, days: t.Days}
		at = end
	}
	return h
}

// rows returns the number of rows of all tables.
func (h head) rows() int {
	n := 0
	for _, t := range h.tables {
		n += t.rows
	}
	return n
}

// appendTo appends the entry up to its blocks.
func (h head) appendTo(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, kindRequest, 0, 0, 0, 0)
	dst = appendString(dst, h.signal)
	dst = appendString(dst, h.tenant)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.received))
	dst = binary.AppendUvarint(dst, uint64(len(h.receipt)))
	dst = append(dst, h.receipt...)
	dst = append(dst, h.print[:]...)
	dst = binary.AppendUvarint(dst, uint64(h.rejected))
	dst = appendString(dst, h.origin)
	dst = binary.AppendUvarint(dst, uint64(len(h.tables)))
	for _, t := range h.tables {
		dst = appendString(dst, t.table)
		dst = appendString(dst, t.partition)
		for _, n := range [...]int{t.rows, t.columns, t.raw, t.to - t.from, len(t.days)} {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
		for _, day := range t.days {
			dst = binary.LittleEndian.AppendUint16(dst, day)
		}
	}
	binary.LittleEndian.PutUint32(dst[from+1:], uint32(len(dst)-from-headPrefix))
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

var errEntry = errors.New("log entry is not understood")

// headBytes returns how many bytes of an entry its head takes, given the entry's first headPrefix bytes.
func headBytes(prefix []byte) (int, error) {
	if len(prefix) < headPrefix || prefix[0] != kindRequest {
		return 0, errEntry
	}
	return headPrefix + int(binary.LittleEndian.Uint32(prefix[1:])), nil
}

// parseHead reads the head of a request entry, of which b may be a prefix that holds the head. The head refers to b.
func parseHead(b []byte) (head, error) {
	n, err := headBytes(b)
	if err != nil || n > len(b) {
		return head{}, errEntry
	}
	r := parser{b: b[headPrefix:n]}
	h := head{signal: r.string(), tenant: r.string(), received: int64(r.uint64()), receipt: r.bytes()}
	copy(h.print[:], r.take(len(h.print)))
	h.rejected, h.origin = int64(r.size()), r.string()
	at := n
	for range r.count() {
		t := tableHead{table: r.string(), partition: r.string(), rows: r.size(), columns: r.size(), raw: r.size(), from: at}
		at += r.size()
		t.to = at
		for range r.count() {
			t.days = append(t.days, r.uint16())
		}
		if r.bad {
			break
		}
		h.tables = append(h.tables, t)
	}
	if r.bad || len(r.b) > 0 {
		return head{}, errEntry
	}
	return h, nil
}

// block returns the table's rows from the whole entry.
func (t tableHead) block(entry []byte) (native.Block, error) {
	if t.to > len(entry) {
		return native.Block{}, fmt.Errorf("%w: %s ends at %d of %d bytes", errEntry, t.table, t.to, len(entry))
	}
	return native.Block{Rows: t.rows, Columns: t.columns, Raw: t.raw, Data: entry[t.from:t.to]}, nil
}

// run is a set of requests of one signal that go to ClickHouse together. It is recorded in the log before it is sent, so
// that whoever sends it again sends the same bytes under the same id. A request belongs to the last
// run that was recorded with it: the halves of a run that was split replace it.
type run struct {
	id      uint64
	signal  string
	tables  []string // to be inserted; nil is all. Those that an earlier run has done already are left out
	entries []position
	sent    bool // not recorded: something of it may be in ClickHouse
}

// A runs entry is
//
//	kind     1 byte
//	runs     count uvarint, and of each
//	         id uint64; signal string; tables uvarint and a string each;
//	         entries uvarint and the distance of each position from the one before as uvarint
func appendRuns(dst []byte, runs ...*run) []byte {
	dst = append(dst, kindRuns)
	dst = binary.AppendUvarint(dst, uint64(len(runs)))
	for _, r := range runs {
		dst = binary.LittleEndian.AppendUint64(dst, r.id)
		dst = appendString(dst, r.signal)
		dst = binary.AppendUvarint(dst, uint64(len(r.tables)))
		for _, t := range r.tables {
			dst = appendString(dst, t)
		}
		dst = binary.AppendUvarint(dst, uint64(len(r.entries)))
		last := position(0)
		for _, p := range r.entries {
			dst = binary.AppendUvarint(dst, uint64(p-last))
			last = p
		}
	}
	return dst
}

func parseRuns(b []byte) ([]*run, error) {
	if len(b) == 0 || b[0] != kindRuns {
		return nil, errEntry
	}
	p := parser{b: b[1:]}
	var runs []*run
	for range p.count() {
		r := &run{id: p.uint64(), signal: p.string()}
		for range p.count() {
			r.tables = append(r.tables, p.string())
		}
		last := position(0)
		for range p.count() {
			last += position(p.uvarint())
			r.entries = append(r.entries, last)
		}
		if p.bad {
			break
		}
		runs = append(runs, r)
	}
	if p.bad || len(p.b) > 0 {
		return nil, errEntry
	}
	return runs, nil
}

// parser reads the fields of an entry. After the first that is not there it reads zeros and bad is set.
type parser struct {
	b   []byte
	bad bool
}

func (p *parser) take(n int) []byte {
	if p.bad || n < 0 || n > len(p.b) {
		p.bad, p.b = true, nil
		return nil
	}
	out := p.b[:n:n]
	p.b = p.b[n:]
	return out
}

func (p *parser) uint64() uint64 {
	if b := p.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (p *parser) uint16() uint16 {
	if b := p.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.take(-1)
		return 0
	}
	p.take(n)
	return v
}

// int reads a number up to max.
func (p *parser) int(max int) int {
	v := p.uvarint()
	if v > uint64(max) {
		p.take(-1)
		return 0
	}
	return int(v)
}

// count reads the number of things that follow, each of a byte at least.
func (p *parser) count() int { return p.int(len(p.b)) }

// size reads a number of bytes or rows.
func (p *parser) size() int { return p.int(math.MaxInt32) }

func (p *parser) bytes() []byte  { return p.take(p.count()) }
func (p *parser) string() string { return string(p.bytes()) }
