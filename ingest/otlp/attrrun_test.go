package otlp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/storage/schema"
)

// regular makes records that have most of keys, in one order, as the records of one sender do.
type regular struct {
	gen
	keys []string
}

// keysOf returns a key of each of the lengths.
func keysOf(lengths ...int) (keys []string) {
	for i, n := range lengths {
		keys = append(keys, strings.Repeat(string(rune('a'+i%26)), n))
	}
	return keys
}

// anyValue returns an AnyValue, most often of one of a few strings, with forms that only look like the common ones.
func (g regular) anyValue() []byte {
	switch g.IntN(16) {
	case 0:
		return uintField(3, uint64(g.IntN(300)))
	case 1:
		return uintField(3, uint64(g.int()))
	case 2:
		return fixedField(4, g.Uint64())
	case 3:
		return uintField(2, uint64(g.IntN(3)))
	case 4:
		return stringField(1, strings.Repeat("x", g.IntN(140)))
	case 5:
		return stringField(1, g.str())
	case 6:
		return bytesField(7, g.bytes(g.IntN(9)))
	case 7:
		return nil
	case 8:
		return slices.Concat(stringField(1, "a"), uintField(3, 5)) // the last one counts
	case 9:
		return append(protowire.AppendTag(nil, 3, protowire.VarintType), 0x85, 0x00) // 5 in two bytes
	case 10:
		return message(5, message(1, stringField(1, "in an array")))
	case 11:
		return stringField(1, string(g.bytes(1+g.IntN(20))))
	default:
		return stringField(1, fmt.Sprint("value-", g.IntN(4)))
	}
}

// attrs returns attributes in the field num.
func (g regular) attrs(num protowire.Number) (b []byte) {
	add := func(key string) {
		k, v := stringField(1, key), message(2, g.anyValue())
		switch g.IntN(12) {
		case 0:
			b = append(b, message(num, k, v, uintField(9, 1))...) // a field that is not known
		case 1:
			b = append(b, message(num, k, message(5, v[2:]))...) // one in place of the value
		case 2, 3, 4, 5:
			b = append(b, message(num, k, v)...)
		default:
			b = append(b, message(num, v, k)...)
		}
	}
	keys := g.keys
	if g.one(4) {
		keys = slices.Clone(keys)
		g.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	for _, key := range keys {
		if !g.one(12) {
			add(key)
		}
		if g.one(20) {
			add(g.keys[g.IntN(len(g.keys))])
		}
	}
	return b
}

// record returns a record with attributes, in its field of ScopeX.
func (g regular) record(sig Signal) []byte {
	at := fixedField(3, 1788000000000000000)
	switch sig {
	case Logs:
		return message(2, fixedField(1, 5), g.attrs(6))
	case Traces:
		return message(2, bytesField(1, goodTrace), bytesField(2, goodSpan), g.attrs(9), message(11, g.attrs(3)), message(13, g.attrs(4)))
	}
	switch g.IntN(5) {
	case 0:
		return message(2, message(5, message(1, g.attrs(7), at, fixedField(4, 0))))
	case 1:
		return message(2, message(7, message(1, at, g.attrs(7), fixedField(6, 7))))
	case 2:
		return message(2, message(9, message(1, at, g.attrs(9))))
	case 3:
		return message(2, message(10, message(1, at, g.attrs(1))))
	default:
		return message(2, message(11, message(1, at, g.attrs(7))))
	}
}

// request returns n records. What is behind the last one lets it be read as all others are.
func (g regular) request(sig Signal, n int) []byte {
	var records []byte
	for range n {
		records = append(records, g.record(sig)...)
	}
	return slices.Concat(message(1, message(2, records)), message(100, make([]byte, 2*maxExpectedKey)))
}

func TestRunsOfAttributesBecomeTheRowsThatPdataSees(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	lists := map[string][]string{
		"short and long": keysOf(0, 1, 7, 8, 12, 27, 28, 29, 30, 31, 32, 33, 60, 97, 130),
		"beside others":  {"a", "b", "\xff", "\xfe", "a.b", "schön", "b.a"},
	}
	for n := 1; n <= maxExpectedKey; n += 3 { // that differ in one byte, and one that begins with another
		lists["alike"] = append(lists["alike"], strings.Repeat("k", n), strings.Repeat("k", n-1)+"l", strings.Repeat("k", n+1))
	}
	for i := range 70 { // more than fit a word of bits
		lists["many"] = append(lists["many"], fmt.Sprint("key-", i))
	}
	for _, sig := range signals {
		for name, keys := range lists {
			for seed := range uint64(8) {
				body := regular{newGen(seed), keys}.request(sig, 40)
				res, err := d.Decode(sig, body, st)
				if err != nil {
					t.Fatalf("%s, %s, seed %d: %v", sig, name, seed, err)
				}
				want, err := reference(sig, body, st)
				if err != nil {
					t.Fatal(err)
				}
				got := readRows(t, res)
				got.billed = want.billed // the reference knows no fields of the request that are not known
				compareSets(t, got, want)
				if t.Failed() {
					t.Fatalf("%s, %s, seed %d", sig, name, seed)
				}
			}
		}
	}
}

// Keys beyond those that a column expects are found like all others, and cost it no memory.
func TestRowsOfManyKeysAreRead(t *testing.T) {
	const keys = maxExpectations + 3
	var row []byte
	for i := range keys {
		row = append(row, attrField(6, fmt.Sprint("key-", i), "v")...)
	}
	record := message(2, fixedField(1, 5), row)
	_, set := decoded(t, Logs, slices.Concat(message(1, message(2, record, record)), message(100, make([]byte, 64))))
	rows := set.tables[schema.Logs]
	if len(rows) != 2 || rows[0]["LogAttributes"] != rows[1]["LogAttributes"] {
		t.Fatalf("%d rows", len(rows))
	}
	if n := strings.Count(rows[1]["LogAttributes"], `:"v" `); n != keys {
		t.Errorf("%d attributes, want %d", n, keys)
	}
	d := NewDecoder(Limits{})
	record = message(2, fixedField(1, 5), attrField(6, fmt.Sprint("key-", keys-1), "v"), attrField(6, "key-0", "v"))
	if _, err := d.Decode(Logs, message(1, message(2, message(2, fixedField(1, 5), row), record)), testStamp(t)); err != nil {
		t.Fatal(err)
	}
	if m := d.logs.attrs; len(m.keys) > maxExpectations || len(m.expected) > maxExpectations {
		t.Errorf("%d keys, %d expected", len(m.keys), len(m.expected))
	}
}

// An attribute whose length is written in two bytes is not taken for a shorter one, though its bytes from the second of them on
// are one with the expected key.
func TestRunEndsAtALongAttribute(t *testing.T) {
	const key = "fifteen-bytes-k"
	const size = 0x12<<7 | 0x05 // 133 with the high bit, then the tag of a value
	shorter := slices.Concat([]byte{tagValue, 114, tagAnyString, 112}, bytes.Repeat([]byte("x"), 112), stringField(1, key))
	// Two fields that are not known have all but the tag of it: of ten bytes, and of 118.
	shorter[13], shorter[14] = 14<<3|wireBytes, 118
	pair := slices.Concat(shorter[1:], stringField(1, "long"), message(2, stringField(1, "v")))
	pair = append(pair, message(14, make([]byte, size-len(pair)-3))...)
	if n := len(pair); n != size || pair[0] != 14<<3|wireBytes {
		t.Fatalf("the attribute has %d bytes", n)
	}
	_, set := decoded(t, Logs, message(1, message(2,
		message(2, fixedField(1, 5), attrField(6, key, "v")), message(2, fixedField(1, 5), message(6, pair)))))
	if got := set.tables[schema.Logs][1]["LogAttributes"]; got != `{"long":"v" }` {
		t.Errorf("LogAttributes = %s", got)
	}
}

func TestRunEndsAtAMalformedAttribute(t *testing.T) {
	good := message(2, fixedField(1, 5), attrField(6, "key", "v"))
	for name, pair := range map[string][]byte{
		"value too long, key first":   slices.Concat(stringField(1, "key"), []byte{tagValue, 4}, stringField(1, "v")),
		"value too long, value first": slices.Concat([]byte{tagValue, 4}, stringField(1, "v"), stringField(1, "key")),
		"text too long":               slices.Concat(stringField(1, "key"), message(2, []byte{tagAnyString, 2, 'v'})),
		"no value":                    slices.Concat(stringField(1, "key"), []byte{tagValue}),
		"end of a group":              slices.Concat(stringField(1, "key"), []byte{1<<3 | wireEnd, 3}, stringField(1, "v")),
	} {
		body := slices.Concat(message(1, message(2, good, message(2, fixedField(1, 5), message(6, pair)))), message(100, make([]byte, 64)))
		if _, err := NewDecoder(Limits{}).Decode(Logs, body, testStamp(t)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestX3RunOfTooManyAttributesIsRejected(t *testing.T) {
	body := message(1, message(2, message(2, fixedField(1, 5), bytes.Repeat(attrField(6, "k", "v"), maxItems+1))))
	res, _ := decoded(t, Logs, slices.Concat(body, message(100, make([]byte, 64))))
	if res.Accepted != 0 || res.Reasons[TooManyItems] != 1 {
		t.Errorf("%d accepted, reasons %v", res.Accepted, res.Reasons)
	}
}
