package otlp

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// withUnknown gives each message of b but attributes and values a field that is not known, and counts them.
func withUnknown(b []byte, m msg) (out []byte, n int) {
	parts, ok := split(b)
	if !ok {
		panic("BUG: malformed message")
	}
	for i, p := range parts {
		switch sub := otlpSchema[m][p.num].sub; sub {
		case leaf, mKeyValue, mAnyValue:
		default:
			body, more := withUnknown(p.body, sub)
			parts[i], n = p.withBody(body), n+more
		}
	}
	return protowire.AppendVarint(protowire.AppendTag(join(parts), 15_000, protowire.VarintType), 1), n + 1
}

func TestD1UnknownFieldsAreCounted(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for _, sig := range signals {
		for seed := range uint64(150) {
			body := newGen(seed).request(t, sig)
			strange, want := withUnknown(body, mRequestLogs+msg(sig))
			for _, c := range []struct {
				body []byte
				want int
			}{{body, 0}, {strange, want}} {
				res, err := d.Decode(sig, c.body, st)
				if err != nil {
					t.Fatalf("%s, seed %d: %v", sig, seed, err)
				}
				if res.UnknownFields != c.want {
					t.Fatalf("%s, seed %d: %d unknown fields, want %d", sig, seed, res.UnknownFields, c.want)
				}
			}
		}
	}
}

// A resource whose attributes reject its records is read a second time, before them.
func TestD1UnknownFieldsOfACarefulAttemptAreCountedOnce(t *testing.T) {
	pair := func(key string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
	}
	field := func(dst []byte, num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), b)
	}
	var resource []byte
	for range maxItems + 1 {
		resource = field(resource, 1, pair("k"))
	}
	scopes := field(nil, 2, field(nil, 2, nil)) // a ScopeLogs of an empty record
	strange, want := withUnknown(field(nil, 1, append(scopes, field(nil, 1, resource)...)), mRequestLogs)
	res, err := NewDecoder(Limits{}).Decode(Logs, strange, testStamp(t))
	if err != nil || res.Rejected != 1 || res.UnknownFields != want {
		t.Errorf("%v, %d rejected, %d unknown fields, want %d", err, res.Rejected, res.UnknownFields, want)
	}
}
