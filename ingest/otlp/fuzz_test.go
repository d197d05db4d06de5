package otlp

import (
	"bytes"
	"testing"
)

// fuzzDecode checks a decoder against pdata: what is protobuf is decoded, into the rows that pdata sees in the canonical
// form of the request. And whatever it was, the decoder is as good as new for the next request.
func fuzzDecode(f *testing.F, sig Signal) {
	root := mRequestLogs + msg(sig)
	for seed := range uint64(20) {
		g := newGen(seed)
		body := g.request(f, sig)
		f.Add(body)
		f.Add(disguise(g.Rand, body, root))
	}
	st := testStamp(f)
	d := NewDecoder(Limits{})
	next := realistic(sig, 3, 5)
	f.Fuzz(func(t *testing.T, body []byte) {
		plain, ok := canonical(body, root)
		res, err := d.Decode(sig, body, st)
		if ok && err == nil {
			want, err := reference(sig, plain, st)
			if err != nil {
				t.Fatalf("pdata refuses the canonical form: %v", err)
			}
			got := readRows(t, res)
			if got.billed > int64(len(body)) || got.billed < 0 {
				t.Fatalf("billed %d bytes of %d", got.billed, len(body))
			}
			if bytes.Equal(plain, body) {
				if got.billed != want.billed {
					t.Fatalf("billed %d bytes, want %d", got.billed, want.billed)
				}
			}
			got.billed = want.billed
			limits := got.reasons[TooManyDays] + got.reasons[TooLarge] + got.reasons[TooManyItems] + got.reasons[KeyTooLong]
			if limits == 0 {
				compareSets(t, got, want)
			}
		}
		if ok && err != nil {
			t.Fatalf("protobuf refused: %v", err)
		}
		res, err = d.Decode(sig, next, st)
		if err != nil || res.Accepted != 5 || res.Rejected != 0 {
			t.Fatalf("the next request: %d accepted, %d rejected, %v", res.Accepted, res.Rejected, err)
		}
		want, _ := reference(sig, next, st)
		compareSets(t, readRows(t, res), want)
	})
}

func FuzzLogs(f *testing.F)    { fuzzDecode(f, Logs) }
func FuzzTraces(f *testing.F)  { fuzzDecode(f, Traces) }
func FuzzMetrics(f *testing.F) { fuzzDecode(f, Metrics) }
