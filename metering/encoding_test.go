package metering

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// receiptV1 is what a released headgate has in its log. It never changes; a new version gets a golden text of its own.
const receiptV1 = "01" + "02" + "1a3031484e38385746354d583859384b5034573147543046315030" + "055152532d31" +
	"aab4fad8d181d6a830" + "b960" + "0a" + "00" + "9601" + "03"

func goldenReceipt() Receipt {
	return Receipt{Tenant: id("01HN88WF5MX8Y8KP4W1GT0F1P0"), Key: "QRS-1", Signal: Traces,
		ReceivedAt: noon.Add(123_456_789 * time.Nanosecond), BilledBytes: 12345, OverageBytes: 10, Records: 150, Rejected: 3}
}

func TestReceiptsOfVersion1AreReadForEver(t *testing.T) {
	b, err := goldenReceipt().AppendBinary(nil)
	if err != nil || hex.EncodeToString(b) != receiptV1 {
		t.Errorf("AppendBinary = %x, %v, want %s", b, err, receiptV1)
	}
	b, err = hex.DecodeString(receiptV1)
	if err != nil {
		t.Fatal(err)
	}
	r, rest, err := ReadReceipt(append(b, "next"...))
	if err != nil || !reflect.DeepEqual(r, goldenReceipt()) || string(rest) != "next" {
		t.Errorf("ReadReceipt = %+v, %q, %v", r, rest, err)
	}
}

// receiptV2 is the same receipt with its accounts.
const receiptV2 = "02021a3031484e38385746354d583859384b5034573147543046315030055152532d31aab4fad8d181d6a830" + "b9600a00960103" +
	"04" + "0100055152532d310000" + "02001a3031484e38385746354d583859384b503457314754304631503000a19c01" + "04020001" +
	"00001a3031484e38385746354d583859384b503457314754304631503102818080808020"

func goldenReceiptV2() Receipt {
	r := goldenReceipt()
	r.Debits = []Debit{
		{Key: true, ID: r.Key, Day: 20148, Limit: tenant.Unlimited},
		{ID: r.Tenant.String(), Day: 20148, Limit: 20000, Billed: true},
		{ID: r.Tenant.String(), Signal: Traces, Day: 20148, Limit: 0},
		{ID: "01HN88WF5MX8Y8KP4W1GT0F1P1", Day: 20149, Limit: 1 << 40},
	}
	return r
}

func TestReceiptsOfVersion2AreReadForEver(t *testing.T) {
	b, err := goldenReceiptV2().AppendBinary(nil)
	if err != nil || hex.EncodeToString(b) != receiptV2 {
		t.Errorf("AppendBinary = %x, %v, want %s", b, err, receiptV2)
	}
	if b, err = hex.DecodeString(receiptV2); err != nil {
		t.Fatal(err)
	}
	if r, rest, err := ReadReceipt(append(b, "next"...)); err != nil || !reflect.DeepEqual(r, goldenReceiptV2()) || string(rest) != "next" {
		t.Errorf("ReadReceipt = %+v, %q, %v", r, rest, err)
	}
}

func randomReceipt(rng *rand.Rand) Receipt {
	n := func() int64 { return rng.Int64N(MaxRequestBytes+1) >> rng.IntN(41) }
	r := Receipt{
		Tenant: id(strings.Repeat("t", 1+rng.IntN(64))), Key: strings.Repeat("k", rng.IntN(maxKeyBytes+1)),
		Signal: signalCodes[1+rng.IntN(len(signalCodes)-1)], ReceivedAt: time.Unix(0, rng.Int64()).UTC(),
		BilledBytes: n(), UnbilledBytes: n(), Records: n(), Rejected: n(),
	}
	r.OverageBytes = rng.Int64N(r.BilledBytes + 1)
	for range rng.IntN(4) {
		owner := Debit{Key: rng.IntN(2) == 0, ID: strings.Repeat("o", 1+rng.IntN(maxKeyBytes)), Day: rng.Int64N(1 << 40),
			Limit: rng.Int64N(1<<62) - 1, Billed: rng.IntN(2) == 0}
		ofSignal := owner
		ofSignal.Signal, ofSignal.Limit = r.Signal, tenant.Unlimited
		r.Debits = append(r.Debits, owner, ofSignal)
	}
	return r
}

func TestReceiptsComeBackFromTheLogAsTheyWere(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	var b []byte
	var want []Receipt
	for range 2000 {
		r := randomReceipt(rng)
		var err error
		if b, err = r.AppendBinary(b); err != nil {
			t.Fatal(err)
		}
		want = append(want, r)
	}
	for i, w := range want {
		var r Receipt
		var err error
		if r, b, err = ReadReceipt(b); err != nil || !reflect.DeepEqual(r, w) {
			t.Fatalf("receipt %d: %+v, %v, want %+v", i, r, err, w)
		}
	}
	if len(b) > 0 {
		t.Errorf("%d bytes are left", len(b))
	}
}

func TestDamagedReceiptsAreRefused(t *testing.T) {
	whole, err := goldenReceipt().AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if r, rest, err := ReadReceipt(whole[:n]); err == nil || !reflect.DeepEqual(r, Receipt{}) || len(rest) != n {
			t.Errorf("cut to %d bytes: %+v, %d left, %v", n, r, len(rest), err)
		}
	}
	for name, change := range map[string]func(b []byte){
		"version 0":     func(b []byte) { b[0] = 0 },
		"later version": func(b []byte) { b[0] = 3 },
		"no signal":     func(b []byte) { b[1] = 0 },
		"later signal":  func(b []byte) { b[1] = byte(len(signalCodes)) },
		"tenant":        func(b []byte) { b[3] = ',' },
		"long tenant":   func(b []byte) { b[2] = 0x7f },
		"all overage":   func(b []byte) { b[len(b)-5] = 0xff },
	} {
		b := bytes.Clone(whole)
		change(b)
		if r, _, err := ReadReceipt(b); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}

func TestReceiptsThatTheLedgerWouldRefuseDoNotEnterTheLog(t *testing.T) {
	for name, change := range map[string]func(r *Receipt){
		"no tenant": func(r *Receipt) { r.Tenant = Receipt{}.Tenant },
		"signal":    func(r *Receipt) { r.Signal = "smells" },
		"negative":  func(r *Receipt) { r.Records = -1 },
		"no time":   func(r *Receipt) { r.ReceivedAt = time.Time{} },
		"long key":  func(r *Receipt) { r.Key = strings.Repeat("k", maxKeyBytes+1) },
	} {
		r := goldenReceipt()
		change(&r)
		if b, err := r.AppendBinary([]byte("x")); err == nil || string(b) != "x" {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
}

// What is read was fit to be written, and is written so that it reads the same.
func FuzzReadReceipt(f *testing.F) {
	b, err := hex.DecodeString(receiptV1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(append(b, b...))
	v2, err := hex.DecodeString(receiptV2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(v2)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, rest, err := ReadReceipt(b)
		if err != nil {
			return
		}
		again, err := r.AppendBinary(nil)
		if err != nil || len(again) > len(b)-len(rest) {
			t.Fatalf("%+v of %d bytes is written in %d, %v", r, len(b)-len(rest), len(again), err)
		}
		if r2, rest, err := ReadReceipt(again); err != nil || !reflect.DeepEqual(r2, r) || len(rest) > 0 {
			t.Errorf("read %+v, then %+v, %v", r, r2, err)
		}
	})
}

func BenchmarkReceipt(b *testing.B) {
	r := goldenReceipt()
	var buf []byte
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = r.AppendBinary(buf[:0])
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := ReadReceipt(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}
