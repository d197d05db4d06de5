package otlp

import (
	"bytes"
	"errors"
	"testing"
)

// manyRecords is a request of n records of sig that say nothing.
func manyRecords(sig Signal, n int) []byte {
	records := bytes.Repeat(message(2), n)
	if sig == Metrics {
		records = message(2, stringField(1, "a name"), message(7, bytes.Repeat(message(1), n)))
	}
	return message(1, message(1, attrField(1, "k", "v")), message(2, message(1, stringField(1, "scope")), records))
}

// X2: a bomb is known by its beginning.
func TestX2GlanceCountsRecordsFromTheBeginning(t *testing.T) {
	l := Limits{MaxRecords: 1000}
	for _, sig := range signals {
		bomb := manyRecords(sig, 100_000)
		if err := l.Glance(sig, bomb[:3000]); !errors.Is(err, ErrTooManyRecords) {
			t.Errorf("%s: the beginning of a bomb: %v", sig, err)
		}
		if err := l.Glance(sig, bomb[:1500]); err != nil {
			t.Errorf("%s: what may end in time: %v", sig, err)
		}
		if err := l.Glance(sig, manyRecords(sig, 1000)); err != nil {
			t.Errorf("%s: as many as are allowed: %v", sig, err)
		}
	}
	if err := l.Glance(Logs, make([]byte, 100)); !errors.Is(err, ErrMalformed) {
		t.Errorf("zeros: %v", err)
	}
}

// What Glance refuses at any beginning, Decode refuses too, or a good request would be lost.
func TestGlanceRefusesNothingThatDecodeTakes(t *testing.T) {
	d, st := NewDecoder(Limits{MaxRecords: 40}), testStamp(t)
	l := Limits{MaxRecords: 40}
	refused := 0
	for _, sig := range signals {
		for seed := range uint64(400) {
			body := newGen(seed).request(t, sig)
			if seed%2 == 1 && len(body) > 0 { // one byte is another
				at := int(seed*7919) % len(body)
				body[at] = byte(seed)
			}
			_, wrong := d.Decode(sig, body, st)
			for _, n := range []int{len(body) / 3, len(body) / 2, len(body)} {
				if err := l.Glance(sig, body[:n]); err != nil {
					if refused++; wrong == nil {
						t.Errorf("%s, seed %d: the first %d of %d bytes: %v", sig, seed, n, len(body), err)
					}
				}
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func FuzzGlance(f *testing.F) {
	for _, sig := range signals {
		f.Add(byte(sig), realistic(sig, 1, 20))
		f.Add(byte(sig), manyRecords(sig, 50))
	}
	d, st := NewDecoder(Limits{MaxRecords: 10}), testStamp(f)
	f.Fuzz(func(t *testing.T, s byte, body []byte) {
		sig := signals[int(s)%len(signals)]
		for n := len(body); n > 0; n /= 2 {
			if err := (Limits{MaxRecords: 10}).Glance(sig, body[:n]); err != nil {
				if _, wrong := d.Decode(sig, body, st); wrong == nil {
					t.Fatalf("%s: the first %d bytes of a good request: %v", sig, n, err)
				}
				return
			}
		}
	})
}
