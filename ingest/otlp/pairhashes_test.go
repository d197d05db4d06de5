package otlp

import (
	"math/rand/v2"
	"testing"
)

// Ids are stored, so what is remembered must be what would be computed: for values of each length, for values that differ in
// one byte, and whatever stands behind them.
func TestRememberedPairsHashAsOnesComputed(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var known pairHashes
	var text [maxKnownValue]byte
	check := func(key uint64, n int) {
		text[0] = byte(n - 1)
		want := pairHash(key, text[1:n])
		for range 2 { // computed, then remembered
			if got := known.of(key, &text, n); got != want {
				t.Fatalf("of(%x, %q) = %x, want %x", key, text[:n], got, want)
			}
			for i := n; i < len(text); i++ {
				text[i] = byte(rnd.Uint32())
			}
		}
	}
	for range 50 {
		for i := range text {
			text[i] = byte(rnd.Uint32N(4))
		}
		for n := 2; n <= maxKnownValue; n++ {
			for _, key := range []uint64{0, 1, rnd.Uint64()} {
				check(key, n)
			}
			for i := 1; i < n; i++ {
				text[i] ^= 1 << rnd.UintN(8)
				check(0, n)
			}
		}
	}
}

// One place holds one pair: those that meet there take it from each other and are told apart.
func TestPairsInOnePlaceAreToldApart(t *testing.T) {
	var known pairHashes
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 20 * len(known) {
		key, text := rnd.Uint64N(3), [maxKnownValue]byte{8}
		for i := range 8 {
			text[1+i] = byte(rnd.Uint32N(3))
		}
		if got, want := known.of(key, &text, 9), pairHash(key, text[1:9]); got != want {
			t.Fatalf("of(%d, %q) = %x, want %x", key, text[:9], got, want)
		}
	}
}
