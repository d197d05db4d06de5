package native

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
)

func TestMain(m *testing.M) { chtest.Main(m) }

// body returns state and body of c.
func body(t *testing.T, c Column) []byte {
	t.Helper()
	framed, _ := framing(nil, func(w *frames) {
		c.writeState(w)
		c.writeBody(w)
	})
	return raw(t, framed)
}

// raw returns what is in frames.
func raw(t *testing.T, frames []byte) []byte {
	t.Helper()
	b, err := AppendRaw(nil, frames)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Golden bytes, written down from the description of the format in doc.go.
func TestColumnsAreTheBytesOfTheFormat(t *testing.T) {
	fixed := NewFixed[uint16]("UInt16")
	fixed.AppendAll([]uint16{1, 0x1234})
	fixed.AppendN(7, 2)

	double := NewNullable[float64]("Float64")
	double.Append(1)
	double.AppendNull()

	text := NewString()
	text.Append([]byte("ab"))
	text.AppendHex([]byte{0x0f, 0xa0})
	text.End(append(text.Begin(), strings.Repeat("x", 128)...))
	text.AppendN(nil, 2)

	lc := NewLowCardinality()
	for _, s := range []string{"b", "", "b"} {
		lc.Append([]byte(s))
	}

	arr := NewArray(NewFixed[uint32]("UInt32"))
	arr.Elem.Append(5)
	arr.Elem.Append(6)
	arr.EndRow()
	arr.EndRow()

	m := NewMap(NewLowCardinality(), NewString())
	for range 2 {
		m.Keys.Append([]byte("k"))
		m.Vals.Append([]byte("v"))
		m.EndRow()
	}
	m.EndRow()

	empty := NewMap(NewLowCardinality(), NewLowCardinality())
	empty.EndRow()

	var nb Builder
	var n Nested
	names := NewLowCardinality()
	n.Add(&nb, "n.a", names)
	n.Begin()
	names.Append([]byte("z"))
	n.EndRow(0)

	const version, flags = "0100000000000000", "0006000000000000"
	for _, tc := range []struct {
		c    Column
		typ  string
		want string
	}{
		{fixed, "UInt16", "0100 3412 0700 0700"},
		{double, "Nullable(Float64)", "00 01 000000000000f03f 0000000000000000"},
		{text, "String", "02 6162 04 30666130 8001" + strings.Repeat("78", 128) + "00 00"},
		{lc, "LowCardinality(String)", version + flags + "0200000000000000 01 62 00 0300000000000000 00 01 00"},
		{arr, "Array(UInt32)", "0200000000000000 0200000000000000 05000000 06000000"},
		{m, "Map(LowCardinality(String), String)", version + "0100000000000000 0200000000000000 0200000000000000" +
			flags + "0100000000000000 01 6b 0200000000000000 00 00" + "01 76 01 76"},
		{empty, "Map(LowCardinality(String), LowCardinality(String))", version + version + "0000000000000000"},
		{nb.cols[0].col, "Array(LowCardinality(String))", version + "0100000000000000" + flags + "0100000000000000 01 7a 0100000000000000 00"},
	} {
		if got, want := body(t, tc.c), unhex(t, tc.want); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tc.typ, got, want)
		}
		if tc.c.Type() != tc.typ {
			t.Errorf("type %s, want %s", tc.c.Type(), tc.typ)
		}
		tc.c.Reset()
		if tc.c.Rows() != 0 || !emptyBody(t, tc.c) {
			t.Errorf("%s: %d rows and %x after Reset", tc.typ, tc.c.Rows(), body(t, tc.c))
		}
	}
}

func TestHexOfEveryByteAtEveryPlace(t *testing.T) {
	for n := range 19 {
		for v := range 256 {
			b := bytes.Repeat([]byte{byte(v), 0xa9, 0x0f}, 7)[:n]
			c := NewString()
			c.AppendHex(b)
			if got := string(c.buf[1:]); got != hex.EncodeToString(b) {
				t.Fatalf("%x = %s", b, got)
			}
		}
	}
}

// emptyBody tells whether c writes its state alone.
func emptyBody(t *testing.T, c Column) bool {
	framed, n := framing(nil, c.writeState)
	return bytes.Equal(body(t, c), raw(t, framed)) && n == len(raw(t, framed))
}

func TestBlockIsHeaderColumnsAndRunID(t *testing.T) {
	c := NewFixed[uint8]("UInt8")
	c.AppendAll([]uint8{1, 2})
	var b Builder
	b.Add("x", c)
	block := b.Encode(2)
	if block.Rows != 2 || block.Columns != 1 || block.Raw != len(raw(t, block.Data)) {
		t.Errorf("block %+v", block)
	}
	want := unhex(t, "02 02 01 78 05 55496e7438 01 02 05 52756e4964 06 55496e743634 0900000000000000 0900000000000000")
	got, ok := bytes.CutPrefix(block.AppendTo([]byte("before"), 9), []byte("before"))
	if !ok || !bytes.Equal(raw(t, got), want) {
		t.Errorf("block\n got %x\nwant %x", raw(t, got), want)
	}
}

func TestEncodeRefusesColumnsOfUnequalLength(t *testing.T) {
	a, c := NewFixed[uint8]("UInt8"), NewFixed[uint8]("UInt8")
	a.Append(1)
	var b Builder
	b.Add("a", a)
	b.Add("c", c)
	defer func() {
		if recover() == nil {
			t.Error("a block of columns of unequal length was encoded")
		}
	}()
	b.Encode(1)
}

// Indexes must be right through both widenings, also when a widening happens within a row that is dropped.
func TestLowCardinalityIndexesWidenWithTheDictionary(t *testing.T) {
	for _, distinct := range []int{1, 255, 256, 257, 65_536, 65_537, 70_000} {
		c := NewLowCardinality()
		var want []string
		for i := range distinct + 300 {
			s := fmt.Sprint((i * 7919) % distinct)
			want = append(want, s)
			c.Append([]byte(s))
		}
		width := 1 << c.shift
		wantWidth := 1
		if distinct > 1<<16 {
			wantWidth = 4
		} else if distinct > 1<<8 {
			wantWidth = 2
		}
		if width != wantWidth {
			t.Errorf("%d values: indexes of %d bytes, want %d", distinct, width, wantWidth)
		}
		for i, s := range want {
			if got := valueAt(c, i); got != s {
				t.Fatalf("%d values: row %d = %q, want %q", distinct, i, got, s)
			}
		}
	}
}

func TestLowCardinalityWidensAnyNumberOfRows(t *testing.T) {
	for extra := range 9 {
		c := NewLowCardinality()
		for range extra {
			c.Append([]byte("0"))
		}
		const distinct = 1<<16 + 10
		for i := range distinct {
			c.Append([]byte(fmt.Sprint(i)))
		}
		for i := range distinct + extra {
			if got, want := valueAt(c, i), fmt.Sprint(max(0, i-extra)); got != want {
				t.Fatalf("%d rows more: row %d = %q, want %q", extra, i, got, want)
			}
		}
	}
}

func valueAt(c *LowCardinality, i int) string {
	n := 0
	for j := range 1 << c.shift {
		n |= int(c.idx[i<<c.shift+j]) << (8 * j)
	}
	s := c.dict.spans[n]
	return string(c.dict.body[s.from:s.to])
}

func TestDictionaryFindsWhatWasAddedAfterReset(t *testing.T) {
	c := NewLowCardinality()
	for round := range 4 {
		n := 10_000 >> (3 * round) // the table shrinks again
		for i := range n {
			b := fmt.Appendf(nil, "%d-%d", round, i)
			if _, ok := c.Find(b); ok {
				t.Fatalf("%s found before it was added", b)
			}
			if got := c.Index(b); got != uint32(i) {
				t.Fatalf("round %d: Index(%d) = %d", round, i, got)
			}
		}
		for i := range n {
			if got, ok := c.Find(fmt.Appendf(nil, "%d-%d", round, i)); !ok || got != uint32(i) {
				t.Fatalf("round %d: Find(%d) = %d, %v", round, i, got, ok)
			}
			j := i * i % n // in no order
			if got, ok := c.Find(fmt.Appendf(nil, "%d-%d", round, j)); !ok || got != uint32(j) {
				t.Fatalf("round %d: Find(%d) = %d, %v", round, j, got, ok)
			}
			if _, ok := c.Find(fmt.Appendf(nil, "%d-", round)); ok {
				t.Fatal("Find found what was not added")
			}
		}
		c.Reset()
	}
}

func TestDroppedRowsLeaveNoTrace(t *testing.T) {
	var b Builder
	m := NewMap(NewLowCardinality(), NewString())
	b.Add("m", m)
	inner := NewMap(NewLowCardinality(), NewString())
	names, nullable, ids := NewLowCardinality(), NewNullable[int64]("Int64"), NewString()
	var n Nested
	n.Add(&b, "n.m", inner)
	n.Add(&b, "n.name", names)
	n.Add(&b, "n.v", nullable)
	n.Add(&b, "n.id", ids)
	pair := func(m *Map[*String], k, v string) {
		m.Keys.Append([]byte(k))
		m.Vals.Append([]byte(v))
	}
	element := func(s string) {
		n.Begin()
		pair(inner, s, s)
		pair(inner, "x"+s, s)
		inner.EndRow()
		names.Append([]byte(s))
		nullable.Append(int64(len(s)))
		ids.Append([]byte(s))
	}
	fill := func(drop bool) Block {
		b.Reset()
		for i := range 600 { // enough values for wider indexes
			s := fmt.Sprint("v", i)
			if drop && i%6 == 0 { // values that come again: what was dropped stays in the dictionaries
				pair(m, "k"+s, "dropped")
				element(s)
				element(s)
				m.DropRow()
				n.DropRow()
			}
			if drop && i%5 == 0 { // dropped twice, and with nothing begun
				m.DropRow()
				n.DropRow()
			}
			pair(m, "k"+s, s)
			m.EndRow()
			if i%2 == 0 {
				element(s)
			}
			n.EndRow(i)
		}
		return b.Encode(600)
	}
	if !bytes.Equal(raw(t, fill(true).Data), raw(t, fill(false).Data)) {
		t.Error("dropped rows changed the block")
	}
}

func TestResetKeepsUsualMemoryAndDropsUnusual(t *testing.T) {
	c := NewString()
	c.Append(make([]byte, 1<<20))
	c.Reset()
	if cap(c.buf) < 1<<20 {
		t.Error("a megabyte was not kept")
	}
	c.Append(make([]byte, maxKeptBytes))
	c.Reset()
	if cap(c.buf) != 0 {
		t.Errorf("%d bytes were kept", cap(c.buf))
	}
}

// The real reader has the last word: several blocks one after another are one INSERT, read back value by value.
func TestEngineReadsBlocksBack(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	ctx := t.Context()
	const columns = `s String, u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, i32 Int32, i64 Int64, f Float64, b Bool,
		e Enum8('x' = 1, 'y' = 2), t DateTime('UTC'), ts DateTime64(9, 'UTC'), lc LowCardinality(String), n Nullable(Float64),
		a Array(UInt64), m Map(LowCardinality(String), String), mm Map(LowCardinality(String), LowCardinality(String)),
		nest Nested(name LowCardinality(String), attrs Map(LowCardinality(String), String), v Nullable(Int64), id String), RunId UInt64`
	if err := conn.Exec(ctx, "CREATE TABLE t ("+columns+") ENGINE = Memory"); err != nil {
		t.Fatal(err)
	}
	var raw []byte
	total := 0
	for run, rows := range []int{1, 300, 3} {
		block := everyShape(rows, total)
		raw = block.AppendTo(raw, uint64(run))
		total += rows
	}
	chtest.Insert(t, conn, "t", raw)
	// Every column as a function of the row's number, computed by the engine itself.
	checks := map[string]string{
		"s":                                    "repeat('s', u32 % 200)",
		"u8":                                   "toUInt8(u32 % 256)",
		"u16":                                  "toUInt16(u32 * 7)",
		"u64":                                  "bitNot(toUInt64(u32))",
		"i32":                                  "-toInt32(u32)",
		"i64":                                  "-toInt64(u32) * 1000000007",
		"f":                                    "u32 / 8",
		"b":                                    "toBool(u32 % 2 = 1)",
		"e":                                    "if(u32 % 2 = 0, 'x', 'y')",
		"t":                                    "toDateTime(1700000000 + u32, 'UTC')",
		"ts":                                   "fromUnixTimestamp64Nano(toInt64(1700000000000000000 + u32), 'UTC')",
		"lc":                                   "concat('value ', toString(u32))",
		"ifNull(n,-1)":                         "if(u32 % 3 = 0, -1, u32 / 2)",
		"a":                                    "range(toUInt64(u32 % 5))",
		"m":                                    "if(u32 % 4 = 0, map(), map('k', toString(u32), 'other', ''))",
		"mm":                                   "map('tenant', 't')",
		"nest.name":                            "arrayMap(i -> concat('n', toString(i)), range(u32 % 3))",
		"nest.attrs":                           "arrayMap(i -> map('i', toString(i)), range(u32 % 3))",
		"arrayMap(v -> ifNull(v, -1), nest.v)": "arrayMap(i -> if(i = 0, -1, i), range(u32 % 3))",
		"nest.id":                              "arrayMap(i -> lower(hex(toUInt8(i))), range(u32 % 3))",
		"RunId":                                "multiIf(u32 < 1, 0, u32 < 301, 1, 2)",
	}
	for column, want := range checks {
		var wrong, all uint64
		query := fmt.Sprintf("SELECT countIf(toString(%s) != toString(%s)), count() FROM t", column, want)
		if err := conn.QueryRow(ctx, query).Scan(&wrong, &all); err != nil {
			t.Errorf("%s: %v", column, err)
		} else if wrong != 0 || all != uint64(total) {
			t.Errorf("%s: %d of %d rows are wrong, want %d rows", column, wrong, all, total)
		}
	}
}

// everyShape is rows of the table of TestEngineReadsBlocksBack, numbered from first.
func everyShape(rows, first int) Block {
	var b Builder
	s, u8, u16, u32 := NewString(), NewFixed[uint8]("UInt8"), NewFixed[uint16]("UInt16"), NewFixed[uint32]("UInt32")
	u64, i32, i64, f := NewFixed[uint64]("UInt64"), NewFixed[int32]("Int32"), NewFixed[int64]("Int64"), NewFixed[float64]("Float64")
	flag, enum := NewFixed[uint8]("Bool"), NewFixed[uint8]("Enum8('x' = 1, 'y' = 2)")
	at, ts := NewFixed[uint32]("DateTime('UTC')"), NewFixed[int64]("DateTime64(9, 'UTC')")
	lc, null, arr := NewLowCardinality(), NewNullable[float64]("Float64"), NewArray(NewFixed[uint64]("UInt64"))
	m, mm := NewMap(NewLowCardinality(), NewString()), NewMap(NewLowCardinality(), NewLowCardinality())
	for _, c := range []struct {
		name string
		col  Column
	}{{"s", s}, {"u8", u8}, {"u16", u16}, {"u32", u32}, {"u64", u64}, {"i32", i32}, {"i64", i64}, {"f", f}, {"b", flag}, {"e", enum},
		{"t", at}, {"ts", ts}, {"lc", lc}, {"n", null}, {"a", arr}, {"m", m}} {
		b.Add(c.name, c.col)
	}
	var same Repeats
	same.Add(&b, "mm", mm)
	var nest Nested
	name, attrs, v, id := NewLowCardinality(), NewMap(NewLowCardinality(), NewString()), NewNullable[int64]("Int64"), NewString()
	nest.Add(&b, "nest.name", name)
	nest.Add(&b, "nest.attrs", attrs)
	nest.Add(&b, "nest.v", v)
	nest.Add(&b, "nest.id", id)
	for r := first; r < first+rows; r++ {
		s.Append(bytes.Repeat([]byte("s"), r%200))
		u8.Append(uint8(r))
		u16.Append(uint16(r * 7))
		u32.Append(uint32(r))
		u64.Append(math.MaxUint64 - uint64(r))
		i32.Append(int32(-r))
		i64.Append(int64(-r) * 1000000007)
		f.Append(float64(r) / 8)
		flag.Append(uint8(r % 2))
		enum.Append(uint8(1 + r%2))
		at.Append(uint32(1700000000 + r))
		ts.Append(1700000000000000000 + int64(r))
		lc.Append(fmt.Appendf(nil, "value %d", r))
		if r%3 == 0 {
			null.AppendNull()
		} else {
			null.Append(float64(r) / 2)
		}
		for i := range r % 5 {
			arr.Elem.Append(uint64(i))
		}
		arr.EndRow()
		if r%4 != 0 {
			m.Keys.Append([]byte("k"))
			m.Vals.End(fmt.Append(m.Vals.Begin(), r))
			m.Keys.Append([]byte("other"))
			m.Vals.Append(nil)
		}
		m.EndRow()
		for i := range r % 3 {
			nest.Begin()
			name.Append(fmt.Appendf(nil, "n%d", i))
			attrs.Keys.Append([]byte("i"))
			attrs.Vals.Append(fmt.Append(nil, i))
			attrs.EndRow()
			if i == 0 {
				v.AppendNull()
			} else {
				v.Append(int64(i))
			}
			id.AppendHex([]byte{byte(i)})
		}
		nest.EndRow(r - first)
	}
	mm.Keys.Append([]byte("tenant"))
	mm.Vals.Append([]byte("t"))
	mm.EndRow()
	same.EndRun(rows)
	return b.Encode(rows)
}

func TestRareColumnIsLeftOutIfAllZero(t *testing.T) {
	var b Builder
	id, rare := NewFixed[uint8]("UInt8"), NewRare[uint64]("UInt64")
	b.Add("Id", id)
	b.Add("Raw", rare)
	for _, want := range [][]uint64{{0, 0, 7, 0}, {0, 0}, {9}, {0, 1, 0, 2}} {
		b.Reset()
		for i, v := range want {
			id.Append(uint8(i))
			if v != 0 {
				rare.Set(i, v)
			}
		}
		block := b.Encode(len(want))
		var body []byte
		for _, v := range want {
			body = binary.LittleEndian.AppendUint64(body, v)
		}
		head := "\x03Raw\x06UInt64"
		data := raw(t, block.Data)
		switch at := bytes.Index(data, []byte(head)); {
		case slices.Max(want) == 0:
			if at >= 0 || block.Columns != 1 {
				t.Errorf("%d: in the block, which has %d columns", want, block.Columns)
			}
		case at < 0 || block.Columns != 2 || !bytes.Equal(data[at+len(head):], body):
			t.Errorf("%d: block %x with %d columns", want, data, block.Columns)
		}
	}
}
