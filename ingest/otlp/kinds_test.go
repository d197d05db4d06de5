package otlp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/headgate-io/headgate/storage/schema"
)

// refKind is what the kind of v must be.
func refKind(v pcommon.Value) string {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		raw := v.Map().AsRaw() // of a repeated key the last one, as refRaw has it
		last := map[string]pcommon.Value{}
		for k, e := range v.Map().All() {
			last[k] = e
		}
		var list []string
		for _, k := range sortedKeys(raw) {
			list = append(list, refKind(last[k]))
		}
		return "k(" + refJoin(list) + ")"
	case pcommon.ValueTypeSlice:
		var list []string
		for _, e := range v.Slice().All() {
			list = append(list, refKind(e))
		}
		return "a(" + refJoin(list) + ")"
	}
	return map[pcommon.ValueType]string{
		pcommon.ValueTypeEmpty: "e", pcommon.ValueTypeStr: "s", pcommon.ValueTypeBool: "b", pcommon.ValueTypeInt: "i",
		pcommon.ValueTypeDouble: "d", pcommon.ValueTypeBytes: "y",
	}[v.Type()]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func refJoin(list []string) string {
	for len(list) > 1 && list[len(list)-1] == list[len(list)-2] {
		list = list[:len(list)-1]
	}
	if len(list) == 1 && list[0] == "s" {
		return ""
	}
	return strings.Join(list, "")
}

// refList is a whole value of a Kinds column.
func refList(list []string) string {
	s := refJoin(list)
	if len(s) > maxKindBytes {
		s = s[:maxKindBytes-1] + "~"
	}
	return s
}

// refKinds is what stands in the Kinds column of m: of a repeated key the last value has its place.
func refKinds(m pcommon.Map) string {
	var keys, list []string
	for k, v := range m.All() {
		k = clean(k)
		if at := slices.Index(keys, k); at >= 0 {
			keys, list = slices.Delete(keys, at, at+1), slices.Delete(list, at, at+1)
		}
		keys, list = append(keys, k), append(list, refKind(v))
	}
	return refList(list)
}

// The way back: from kinds and text to the values. What a reader of the tables must do stands in docs/fidelity.md.

// kind1 is a parsed kind.
type kind1 struct {
	letter byte
	list   kindSeq
}

type kindSeq []kind1

// at returns the kind of the value with the index i.
func (l kindSeq) at(i int) kind1 {
	if len(l) == 0 {
		return kind1{letter: 's'}
	}
	return l[min(i, len(l)-1)]
}

func parseKinds(t *testing.T, s string) kindSeq {
	t.Helper()
	list, rest := parseKindSeq(s)
	if rest != "" && rest != "~" {
		t.Fatalf("kinds %q: %q is left", s, rest)
	}
	return list
}

func parseKindSeq(s string) (kindSeq, string) {
	var list kindSeq
	for s != "" && s[0] != ')' && s[0] != '~' {
		k := kind1{letter: s[0]}
		s = s[1:]
		if k.letter == 'a' || k.letter == 'k' {
			k.list, s = parseKindSeq(strings.TrimPrefix(s, "("))
			s = strings.TrimPrefix(s, ")")
		}
		list = append(list, k)
	}
	return list, s
}

// rebuild makes the value v of its kind and its text.
func rebuild(t *testing.T, k kind1, text string, v pcommon.Value) {
	t.Helper()
	var err error
	switch k.letter {
	case 'e':
		if text != "" {
			t.Errorf("an empty value has the text %q", text)
		}
	case 's':
		v.SetStr(text)
	case 'b':
		v.SetBool(text == "true")
	case 'i':
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
	case 'd':
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		v.SetDouble(f)
	case 'y':
		var b []byte
		b, err = base64.StdEncoding.DecodeString(text)
		v.SetEmptyBytes().FromRaw(b)
	case 'a', 'k':
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		rebuildJSON(t, k, dec, v)
		if _, more := dec.Token(); more == nil {
			t.Errorf("text %q goes on", text)
		}
	default:
		t.Fatalf("no kind %q", k.letter)
	}
	if err != nil {
		t.Errorf("kind %c, text %q: %v", k.letter, text, err)
	}
}

func rebuildJSON(t *testing.T, k kind1, dec *json.Decoder, v pcommon.Value) {
	t.Helper()
	tok, err := dec.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch k.letter {
	case 'a':
		s := v.SetEmptySlice()
		for i := 0; dec.More(); i++ {
			rebuildJSON(t, k.list.at(i), dec, s.AppendEmpty())
		}
		_, _ = dec.Token()
	case 'k':
		m := v.SetEmptyMap()
		for i := 0; dec.More(); i++ {
			key, _ := dec.Token()
			rebuildJSON(t, k.list.at(i), dec, m.PutEmpty(key.(string)))
		}
		_, _ = dec.Token()
	case 'e':
		if tok != nil {
			t.Errorf("an empty value is %v in JSON", tok)
		}
	default:
		rebuild(t, k, fmt.Sprint(tok), v)
	}
}

// canon writes a value so that equal text means an equal value of equal kind, but for what docs/fidelity.md excepts: bytes
// that are not UTF-8, the order and repetition of keys, and which NaN it was.
func canon(v pcommon.Value, inside bool) string {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		last := map[string]string{}
		for k, e := range v.Map().All() {
			last[eachClean(k)] = canon(e, true)
		}
		return "k" + showMap(last)
	case pcommon.ValueTypeSlice:
		var list []string
		for _, e := range v.Slice().All() {
			list = append(list, canon(e, true))
		}
		return "a[" + strings.Join(list, ",") + "]"
	case pcommon.ValueTypeStr:
		if inside {
			return fmt.Sprintf("s%q", eachClean(v.Str()))
		}
		return fmt.Sprintf("s%q", clean(v.Str()))
	case pcommon.ValueTypeDouble:
		if math.IsNaN(v.Double()) {
			return "dNaN"
		}
		return fmt.Sprintf("d%x", math.Float64bits(v.Double()))
	}
	return refKind(v) + v.AsString()
}

// eachClean replaces each byte that is not UTF-8, as encoding/json does.
func eachClean(s string) string { return string([]rune(s)) }

func canonMap(m pcommon.Map) string {
	last := map[string]string{}
	for k, v := range m.All() {
		last[clean(k)] = canon(v, false)
	}
	return showMap(last)
}

// showMap does not quote the values, which would double their backslashes with each level.
func showMap(m map[string]string) string {
	var b strings.Builder
	for _, k := range sortedKeys(m) {
		fmt.Fprintf(&b, "%q:%s ", k, m[k])
	}
	return "{" + b.String() + "}"
}

// storedMap is a map as a row has it: in order.
type storedMap struct {
	keys, vals []string
	kinds      string
}

func (s storedMap) canon(t *testing.T) string {
	t.Helper()
	list := parseKinds(t, s.kinds)
	m := pcommon.NewMap()
	for i, k := range s.keys {
		rebuild(t, list.at(i), s.vals[i], m.PutEmpty(k))
	}
	return canonMap(m)
}

func TestKindsAreShort(t *testing.T) {
	ints := func(n int) (b []byte) {
		for range n {
			b = append(b, message(1, uintField(3, 7))...)
		}
		return message(5, b)
	}
	mixed := func(n int) (b []byte) {
		for range n {
			b = append(b, message(1, uintField(3, 7))...)
			b = append(b, message(1, stringField(1, "x"))...)
		}
		return message(5, b)
	}
	attr := func(key string, value ...[]byte) []byte {
		return message(6, stringField(1, key), message(2, slices.Concat(value...)))
	}
	str, num, float := stringField(1, "x"), uintField(3, 7), fixedField(4, 0)
	for _, tc := range []struct {
		name  string
		attrs []byte
		want  string
	}{
		{"none", nil, ""},
		{"strings", slices.Concat(attr("a", str), attr("b", str)), ""},
		{"an int among strings", slices.Concat(attr("a", str), attr("b", num), attr("c", str), attr("d", str)), "sis"},
		{"ints", slices.Concat(attr("a", num), attr("b", num), attr("c", num)), "i"},
		{"ints, then a double", slices.Concat(attr("a", num), attr("b", num), attr("c", float)), "iid"},
		{"no value", slices.Concat(attr("a"), message(6, stringField(1, "b"))), "e"},
		{"arrays", slices.Concat(attr("a", ints(0)), attr("b", ints(1)), attr("c", ints(5000))), "a()a(i)"},
		{"the last of a repeated key", slices.Concat(attr("a", str), attr("k", num), attr("b", str), attr("k", float)), "ssd"},
		{"a repeated key that ends as a string", slices.Concat(attr("k", num), attr("k", str)), ""},
		{"beyond the bound", attr("a", mixed(2000)), "a(" + strings.Repeat("is", 510) + "i~"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := logRow(t, fixedField(1, 5), tc.attrs)
			if got := r["LogAttributesKinds"]; got != tc.want || len(got) > maxKindBytes {
				t.Errorf("kinds %q, want %q", got, tc.want)
			}
		})
	}
}

// Rows of the same kinds but one are remembered by them and by the number of their values.
func TestKindsOfRowsOfAnyLengthFollowOneAnother(t *testing.T) {
	values := map[byte][]byte{'s': stringField(1, "x"), 'i': uintField(3, 7), 'd': fixedField(4, 0), 'e': nil}
	var rows []string
	for _, head := range []string{"i", "d", "e", "si", "sd", "ii", "id", "di", "ed", "sie", "dde", "ssd"} {
		for n := range 20 {
			rows = append(rows, head, head+strings.Repeat("s", n), head+strings.Repeat(head[:1], n), strings.Repeat("s", n)+head)
		}
	}
	var records []byte
	for _, row := range rows {
		record := fixedField(1, 5)
		for i, kind := range []byte(row) {
			record = append(record, message(6, stringField(1, fmt.Sprint("k", i)), message(2, values[kind]))...)
		}
		records = append(records, message(2, record)...)
	}
	_, set := decoded(t, Logs, message(1, message(2, slices.Repeat(records, 3))))
	got := set.tables[schema.Logs]
	if len(got) != 3*len(rows) {
		t.Fatalf("%d rows", len(got))
	}
	for i := range got {
		row := rows[i%len(rows)]
		want := strings.TrimRight(row, "s") // a run at the end is written once, and strings alone are nothing
		if want != "" && want != row {
			want += "s"
		}
		for n := len(want); n > 1 && want[n-1] == want[n-2]; n-- {
			want = want[:n-1]
		}
		if kinds := got[i]["LogAttributesKinds"]; kinds != want {
			t.Fatalf("kinds of %q are %q, want %q", row, kinds, want)
		}
	}
}

// What a malformed request leaves of a row must not show in the next one.
func TestKindsOfAMalformedRequestAreNotTheNextOnes(t *testing.T) {
	d := NewDecoder(Limits{})
	num := func(key string) []byte { return message(6, stringField(1, key), message(2, uintField(3, 7))) }
	if _, err := d.Decode(Logs, logWith(num("a"), num("b"), []byte{6<<3 | wireBytes, 9}), testStamp(t)); err == nil {
		t.Fatal("a truncated record was accepted")
	}
	res, err := d.Decode(Logs, logWith(fixedField(1, 5)), testStamp(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := readRows(t, res).tables[schema.Logs][0]["LogAttributesKinds"]; got != "" {
		t.Errorf("kinds %q, want none", got)
	}
}
