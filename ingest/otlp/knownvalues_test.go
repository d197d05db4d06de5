package otlp

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// points returns a column of points' attributes that remembers values in known.
func points(known *knownValues) *attrMap {
	m := newAttrMap()
	m.hashed = known
	return m
}

// Ids are stored, so what is remembered must be what would be computed: for values of each length and kind, for values that
// differ in one bit, and whatever stands behind them.
func TestRememberedValuesAreAsOnesComputed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	m := points(&knownValues{})
	check := func(key uint64, val []byte) {
		t.Helper()
		fresh := points(&knownValues{})
		if !fresh.addHashed(key, val) { // not of a common form
			if m.addHashed(key, val) {
				t.Fatalf("addHashed(%x, %q) adds %q", key, val, m.Vals.From(0))
			}
			return
		}
		for range 2 { // computed, then remembered
			m.Reset()
			if !m.addHashed(key, val) || m.sum != fresh.sum || m.kinds.few != fresh.kinds.few || !bytes.Equal(m.Vals.From(0), fresh.Vals.From(0)) {
				t.Fatalf("addHashed(%x, %q) adds %q, sum %x, kinds %x; want %q, %x, %x",
					key, val, m.Vals.From(0), m.sum, m.kinds.few, fresh.Vals.From(0), fresh.sum, fresh.kinds.few)
			}
			for i := len(val); i < cap(val); i++ {
				val[:cap(val)][i] = byte(rnd.Uint32())
			}
		}
		if want := pairHash(key, fresh.Vals.From(0)[1:]); fresh.sum != want {
			t.Fatalf("addHashed(%x, %q) has the sum %x, want %x", key, val, fresh.sum, want)
		}
	}
	values := [][]byte{uintField(3, 0), uintField(3, 200), uintField(3, 1<<40), uintField(2, 1), fixedField(4, 0x3ff8<<48), uintField(3, 1<<63)}
	for n := range 2 * maxKnownValue {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(rnd.Uint32N(4))
		}
		values = append(values, stringField(1, string(text)))
	}
	for range 20 {
		for _, v := range values {
			val := append(make([]byte, 0, len(v)+maxKnownValue), v...)
			for _, key := range []uint64{0, 1, rnd.Uint64()} {
				check(key, val)
				check(key, append(slices.Grow(slices.Clone(val), maxKnownValue), 0)) // not a value any more
			}
			for i := range val {
				val[i] ^= 1 << rnd.UintN(8)
				check(0, val)
				copy(val, v)
			}
		}
	}
}

// One place holds one value: those that meet there take it from each other and are told apart.
func TestValuesInOnePlaceAreToldApart(t *testing.T) {
	m := points(&knownValues{})
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 20 * len(m.hashed) {
		key, text := rnd.Uint64N(3), make([]byte, 8)
		for i := range text {
			text[i] = byte(rnd.Uint32N(3))
		}
		val := stringField(1, string(text))
		m.Reset()
		m.addHashed(key, append(make([]byte, 0, maxKnownValue), val...))
		if want := pairHash(key, text); m.sum != want || !bytes.Equal(m.Vals.From(0)[1:], text) {
			t.Fatalf("addHashed(%d, %q) = %x, want %x", key, val, m.sum, want)
		}
	}
}
