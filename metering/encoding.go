package metering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// A receipt in the log:
//
//	version   1 byte: 2, or 1 if it has no debits
//	signal    1 byte: 1 logs, 2 traces, 3 metrics, 4 profiles
//	tenant    uvarint length, bytes
//	key       uvarint length, bytes
//	received  varint, unix nanoseconds
//	billed, overage, unbilled bytes, records, rejected records: uvarints
//	debits    only in version 2: uvarint number, and for each:
//	  flags   1 byte: 1 of a key, 2 what is beyond the limit is billed, 4 of the same owner as the one before
//	  signal  1 byte, 0 is all
//	  owner   uvarint length, bytes; not with flag 4
//	  day     varint, beyond the UTC day of received
//	  limit   uvarint, one more than it is; 0 is unlimited
//
// A change of any of it is a new version; a version that was released is read for ever.
const receiptVersion = 2

const (
	debitKey = 1 << iota
	debitBilled
	debitSameOwner
)

// maxKeyBytes bounds the id of a key in a receipt.
const maxKeyBytes = 255

var errShort = errors.New("cut short")

var signalCodes = [...]Signal{1: Logs, 2: Traces, 3: Metrics, 4: Profiles}

func (s Signal) code() byte {
	for i, known := range signalCodes {
		if s == known && i > 0 {
			return byte(i)
		}
	}
	return 0
}

// AppendBinary appends the receipt in the log's encoding to dst. It fails only for a receipt that the ledger would refuse,
// which Settle does not return.
func (r Receipt) AppendBinary(dst []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return dst, err
	}
	id := r.Tenant.String()
	version := byte(1)
	if len(r.Debits) > 0 {
		version = receiptVersion
	}
	dst = append(dst, version, r.Signal.code())
	dst = append(binary.AppendUvarint(dst, uint64(len(id))), id...)
	dst = append(binary.AppendUvarint(dst, uint64(len(r.Key))), r.Key...)
	dst = binary.AppendVarint(dst, r.ReceivedAt.UnixNano())
	for _, n := range [...]int64{r.BilledBytes, r.OverageBytes, r.UnbilledBytes, r.Records, r.Rejected} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	if len(r.Debits) > 0 {
		dst = r.appendDebits(dst)
	}
	return dst, nil
}

func (r Receipt) appendDebits(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.Debits)))
	today := floorDiv(r.ReceivedAt.Unix(), daySeconds)
	for i := range r.Debits {
		d, flags := &r.Debits[i], byte(0)
		if d.Key {
			flags |= debitKey
		}
		if d.Billed {
			flags |= debitBilled
		}
		same := i > 0 && d.Key == r.Debits[i-1].Key && d.ID == r.Debits[i-1].ID
		if same {
			flags |= debitSameOwner
		}
		dst = append(dst, flags, d.Signal.code())
		if !same {
			dst = append(binary.AppendUvarint(dst, uint64(len(d.ID))), d.ID...)
		}
		dst = binary.AppendVarint(dst, d.Day-today)
		dst = binary.AppendUvarint(dst, uint64(d.Limit+1))
	}
	return dst
}

// ReadReceipt reads the receipt at the start of b and returns what follows it. The receipt keeps nothing of b. What it
// returns without an error is fit for Apply.
func ReadReceipt(b []byte) (r Receipt, rest []byte, err error) {
	d := receiptReader{b: b}
	version := d.byte()
	if d.err == nil && (version == 0 || version > receiptVersion) {
		return Receipt{}, b, fmt.Errorf("receipt of version %d: this headgate reads versions up to %d", version, receiptVersion)
	}
	r.Signal = d.signal() // "" for 0, which check refuses
	id := d.text(maxKeyBytes)
	r.Key = d.text(maxKeyBytes)
	r.ReceivedAt = time.Unix(0, d.varint()).UTC()
	for _, n := range [...]*int64{&r.BilledBytes, &r.OverageBytes, &r.UnbilledBytes, &r.Records, &r.Rejected} {
		*n = d.count()
	}
	if version > 1 {
		r.Debits = d.debits(floorDiv(r.ReceivedAt.Unix(), daySeconds))
	}
	if d.err == nil {
		// SECURITY: the one place below auth that makes an ID: this one came from auth, travelled through headgate's own log,
		// and names only whom to bill.
		r.Tenant, d.err = tenant.ParseID(id)
	}
	if d.err == nil {
		d.err = r.check()
	}
	if d.err != nil {
		return Receipt{}, b, fmt.Errorf("receipt: %w", d.err)
	}
	return r, d.b, nil
}

// receiptReader takes values off b until the first error.
type receiptReader struct {
	b   []byte
	err error
}

func (d *receiptReader) byte() byte {
	if d.err != nil || len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *receiptReader) signal() Signal {
	code := int(d.byte())
	if code >= len(signalCodes) {
		d.fail()
		return ""
	}
	return signalCodes[code]
}

func (d *receiptReader) debits(today int64) []Debit {
	n := d.count()
	if n > maxDebits {
		d.fail()
	}
	if d.err != nil || n == 0 {
		return nil
	}
	out := make([]Debit, n)
	for i := range out {
		flags := d.byte()
		out[i] = Debit{Key: flags&debitKey != 0, Billed: flags&debitBilled != 0, Signal: d.signal()}
		if flags&debitSameOwner == 0 {
			out[i].ID = d.text(maxKeyBytes)
		} else if i > 0 {
			out[i].ID = out[i-1].ID
		}
		out[i].Day, out[i].Limit = today+d.varint(), d.count()-1
	}
	return out
}

func (d *receiptReader) fail() {
	if d.err == nil {
		d.err = errShort
	}
}

// take moves on by the n bytes that a varint took, which is none if it was cut short or too long.
func (d *receiptReader) take(n int) bool {
	if d.err != nil || n <= 0 {
		d.fail()
		return false
	}
	d.b = d.b[n:]
	return true
}

func (d *receiptReader) varint() int64 {
	v, n := binary.Varint(d.b)
	if !d.take(n) {
		return 0
	}
	return v
}

// count reads a number that is not negative.
func (d *receiptReader) count() int64 {
	v, n := binary.Uvarint(d.b)
	if !d.take(n) {
		return 0
	}
	return int64(min(v, math.MaxInt64)) // check refuses what is too large
}

func (d *receiptReader) text(maxBytes int64) string {
	n := d.count()
	if n > maxBytes || n > int64(len(d.b)) {
		d.fail()
	}
	if d.err != nil {
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
