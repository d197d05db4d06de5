package otlp

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

func TestDoublesAreWrittenAsTheCollectorDoes(t *testing.T) {
	check := func(f float64) {
		t.Helper()
		if got, want := string(appendDouble(nil, f)), pcommon.NewValueDouble(f).AsString(); got != want {
			t.Fatalf("%x = %q, want %q", math.Float64bits(f), got, want)
		}
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 0.1, 0.001, 0.0005, 0.0004, 1e-6, 9.99e-7, 1e-7, 1e-9, 1e-10, 1e12, 999999999999.999,
		1e15, 1e20, 1e21, 123456789012.345, 0.3, 0.1 + 0.2, math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
		check(f)
		check(-f)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 40_000 {
		check(math.Float64frombits(r.Uint64()))
		n := r.Int64N(1e15) >> r.IntN(50)
		check(float64(n) / 1000)
		check(math.Nextafter(float64(n)/1000, math.Inf(1)))
		check(float64(n) / 100000)
		check(float64(n) * 0.001)
	}
}

func TestTextIsCleanedAsTheStandardLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"a", "\xff", "é", "\xe9", "日", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "😀", "\xf0\x9f", "\uFFFD"}
	for range 20_000 {
		var s string
		for range r.IntN(6) {
			s += pieces[r.IntN(len(pieces))]
		}
		got := string(appendValid(nil, []byte(s)))
		if want := strings.ToValidUTF8(s, "\uFFFD"); got != want || !utf8.ValidString(got) {
			t.Fatalf("%q = %q, want %q", s, got, want)
		}
	}
}

// Names that are looked for in one place are told apart, also from those of earlier requests.
func TestNamesWithEqualEndsAreToldApart(t *testing.T) {
	d, st := NewDecoder(Limits{}), testStamp(t)
	for _, names := range [][]string{
		{"GET /api/cart/items", "GET /api/user/items", "GET /api/cart/items", "GET /api/longer/items", ""},
		{"GET /api/user/items", "GET /api/user/items", "GET", "POST", "GET /api/\xff/items", "GET /api/\xfe/items", "GET /api/cart/items"},
	} {
		var spans []byte
		for _, name := range names {
			spans = append(spans, spanWith(goodTrace, goodSpan, stringField(5, name))...)
		}
		body := message(1, message(2, spans))
		res, err := d.Decode(Traces, body, st)
		if err != nil {
			t.Fatal(err)
		}
		want, err := reference(Traces, body, st)
		if err != nil {
			t.Fatal(err)
		}
		compareSets(t, readRows(t, res), want)
	}
}
