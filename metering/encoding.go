package metering

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// A receipt in the log, version 1:
//
//	version   1 byte, 1
//	signal    1 byte: 1 logs, 2 traces, 3 metrics, 4 profiles
//	tenant    uvarint length, bytes
//	key       uvarint length, bytes
//	received  varint, unix nanoseconds
//	billed, overage, unbilled bytes, records, rejected records: uvarints
//
// A change of any of it is a new version; a version that was released is read for ever.
const receiptVersion = 1

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
	dst = append(dst, receiptVersion, r.Signal.code())
	dst = append(binary.AppendUvarint(dst, uint64(len(id))), id...)
	dst = append(binary.AppendUvarint(dst, uint64(len(r.Key))), r.Key...)
	dst = binary.AppendVarint(dst, r.ReceivedAt.UnixNano())
	for _, n := range [...]int64{r.BilledBytes, r.OverageBytes, r.UnbilledBytes, r.Records, r.Rejected} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst, nil
}

// ReadReceipt reads the receipt at the start of b and returns what follows it. The receipt keeps nothing of b. What it
// returns without an error is fit for Apply.
func ReadReceipt(b []byte) (r Receipt, rest []byte, err error) {
	d := receiptReader{b: b}
	switch version := d.byte(); {
	case d.err != nil:
	case version != receiptVersion:
		return Receipt{}, b, fmt.Errorf("receipt of version %d: this headgate reads version %d", version, receiptVersion)
	}
	if code := int(d.byte()); code < len(signalCodes) {
		r.Signal = signalCodes[code] // "" for 0, which check refuses
	}
	id := d.text(maxKeyBytes)
	r.Key = d.text(maxKeyBytes)
	r.ReceivedAt = time.Unix(0, d.varint()).UTC()
	for _, n := range [...]*int64{&r.BilledBytes, &r.OverageBytes, &r.UnbilledBytes, &r.Records, &r.Rejected} {
		*n = d.count()
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
