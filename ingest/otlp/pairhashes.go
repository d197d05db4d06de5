package otlp

import "encoding/binary"

// pairHashes remembers the hashes of pairs with short values. Most attributes of points are one of a few, which are found in
// a few instructions where XXH64 goes byte by byte. What stands in it is exact whatever request it is from, so it is never
// emptied: pairHash depends on nothing but what an entry is found by.
type pairHashes [256]knownPair

type knownPair struct {
	key   uint64 // the key's hash
	value [maxKnownValue / 8]uint64
	hash  uint64
}

// maxKnownValue is the size of the longest values that are remembered, with the byte that is their length.
const maxKnownValue = 24

// leading has, by n, ones in the first n of so many bytes.
var leading = func() (masks [maxKnownValue + 1][maxKnownValue / 8]uint64) {
	for n := range masks {
		for i := range n {
			masks[n][i/8] |= 0xff << (8 * (i % 8))
		}
	}
	return masks
}()

// of returns pairHash of the value that the first n bytes of text are as a row, its length and its bytes. n is 2 to
// maxKnownValue: an empty value is not told from an entry that is not used yet. What is behind it does not matter.
func (p *pairHashes) of(key uint64, text *[maxKnownValue]byte, n int) uint64 {
	mask := &leading[n]
	value := [...]uint64{
		binary.LittleEndian.Uint64(text[:]) & mask[0],
		binary.LittleEndian.Uint64(text[8:]) & mask[1],
		binary.LittleEndian.Uint64(text[16:]) & mask[2],
	}
	known := &p[(key^value[0]*resourcePart^value[1]*keyFactor^value[2]*scopePart)*scopePart>>56]
	if known.key != key || known.value != value {
		*known = knownPair{key, value, pairHash(key, text[1:n])}
	}
	return known.hash
}
