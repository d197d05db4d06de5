package otlp

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// novel makes n records of eight attributes of which what has to be remembered to be of use never comes again: keys or values
// that are all different, or keys in another order in each record.
func novel(sig Signal, what string, n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 1))
	field := [...]protowire.Number{6, 9, 7}[sig]
	var records []byte
	for i := range n {
		var attrs []byte
		for _, j := range rnd.Perm(8) {
			key, value := fmt.Sprint("attribute.", j), fmt.Sprint("value-", j)
			switch what {
			case "keys":
				key = fmt.Sprintf("key-%06d-%d", i, j)
			case "values":
				key, value = fmt.Sprint("attribute.", len(attrs)), fmt.Sprintf("value-%06d-%d", i, j)
			}
			attrs = append(attrs, attrField(field, key, value)...)
		}
		switch sig {
		case Logs:
			attrs = append(attrs, fixedField(1, 5)...)
		case Traces:
			attrs = append(append(attrs, bytesField(1, goodTrace)...), bytesField(2, goodSpan)...)
		default:
			attrs = message(5, message(1, attrs, fixedField(3, 5), fixedField(4, 0)))
		}
		records = append(records, message(2, attrs)...)
	}
	return message(1, message(2, records))
}

// BenchmarkDecodeNovel shows what those pay that memories and expectations do not help.
func BenchmarkDecodeNovel(b *testing.B) {
	d, st := NewDecoder(Limits{}), testStamp(b)
	for _, what := range []string{"keys", "values", "order"} {
		b.Run(what, func(b *testing.B) {
			bodyOf := func(sig Signal, _ uint64, records int) []byte { return novel(sig, what, records) }
			benchOn(b, bodyOf, func(sig Signal, body []byte) error {
				_, err := d.Decode(sig, body, st)
				return err
			})
		})
	}
}
