package native

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// texts calls check with strings of n times 'a', encoded, each as it stands in a larger buffer whose other bytes are not
// ASCII, and alone; and with the same strings with one byte that is not ASCII.
func texts(n int, check func(encoded []byte, ascii bool)) {
	body := append(binary.AppendUvarint(nil, uint64(n)), bytes.Repeat([]byte("a"), n)...)
	begin := len(body) - n
	for bad := -1; bad < n; bad++ {
		text := slices.Clone(body)
		if bad >= 0 {
			text[begin+bad] = 0x80
		}
		around := append(bytes.Repeat([]byte{0xff}, 20), text...)
		around = append(around, bytes.Repeat([]byte{0xff}, 20)...)
		check(around[20:20+len(text)], bad < 0)
		check(slices.Clip(text), bad < 0)
	}
}

func TestASCIIIsFoundAtEveryLengthAndPlace(t *testing.T) {
	for n := range 60 {
		texts(n, func(encoded []byte, ascii bool) {
			if IsASCII(encoded) != ascii {
				t.Fatalf("IsASCII(%q) = %t", encoded, !ascii)
			}
			for _, room := range []int{0, 1000} {
				column, want := String{buf: make([]byte, 0, room)}, []byte{}
				for range 5 {
					if column.AppendASCII(encoded) != ascii {
						t.Fatalf("AppendASCII(%q) = %t", encoded, !ascii)
					}
					if ascii {
						want = append(want, encoded...)
					}
				}
				if !bytes.Equal(column.buf, want) || column.Rows()*len(encoded) != len(want) {
					t.Fatalf("%q became %q", encoded, column.buf)
				}
			}
		})
	}
}

func TestIntegersAreWrittenInDecimal(t *testing.T) {
	ints := []int64{math.MinInt64, math.MaxInt64, -1, -9, -10, -999, -1000, 1000, 1001, 9999}
	for v := range int64(1000) {
		ints = append(ints, v)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		ints = append(ints, int64(r.Uint64())>>r.IntN(64))
	}
	got, want := NewString(), NewString()
	for _, v := range ints {
		got.AppendInt(v)
		want.Append(strconv.AppendInt(nil, v, 10))
	}
	if !bytes.Equal(got.buf, want.buf) || got.Rows() != len(ints) {
		t.Error("they are not the same")
	}
}

func TestShortRowsAreAddedAsTheyWere(t *testing.T) {
	var from, to, tight String
	var want []byte
	for n := range 40 {
		text := bytes.Repeat([]byte{byte('a' + n%26)}, n)
		at := from.Len()
		from.Append(text)
		var row ShortRow
		if short := from.Short(at, &row); short != (n <= 23) {
			t.Fatalf("a row of %d bytes is short: %t", n, short)
		} else if !short {
			continue
		}
		for range 3 {
			to.AppendShort(&row)
			tight.buf = slices.Clip(tight.buf)
			tight.AppendShort(&row)
			want = append(append(want, byte(n)), text...)
		}
	}
	for _, c := range []*String{&to, &tight} {
		if c.Rows() != 3*24 || !bytes.Equal(c.From(0), want) {
			t.Errorf("%d rows, %q", c.Rows(), c.From(0))
		}
	}
}
