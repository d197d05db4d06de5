package native

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// shapes is a column of each kind that can be repeated.
type shapes struct {
	text   *LowCardinality
	byte   *Fixed[uint8]
	number *Fixed[int64]
	string *String
	texts  *Map[*LowCardinality]
	attrs  *Map[*String]
	sizes  *Map[*Fixed[uint16]]
}

func newShapes(add func(name string, c Repeatable)) *shapes {
	s := &shapes{
		NewLowCardinality(), NewFixed[uint8]("UInt8"), NewFixed[int64]("Int64"), NewString(),
		NewMap(NewLowCardinality(), NewLowCardinality()), NewMap(NewLowCardinality(), NewString()),
		NewMap(NewLowCardinality(), NewFixed[uint16]("UInt16")),
	}
	add("text", s.text)
	add("byte", s.byte)
	add("number", s.number)
	add("string", s.string)
	add("texts", s.texts)
	add("attrs", s.attrs)
	add("sizes", s.sizes)
	return s
}

// append adds the row v, with so many pairs in each map.
func (s *shapes) append(v, pairs int) {
	text := fmt.Append(nil, "value ", v, strings.Repeat("-", v%200))
	s.text.Append(text)
	s.byte.Append(uint8(v))
	s.number.Append(int64(v) * 1000000007)
	s.string.Append(text[:v%len(text)])
	for i := range pairs {
		key := fmt.Append(nil, "key ", (v+i)%1000)
		s.texts.Keys.Append(key)
		s.texts.Vals.Append(fmt.Append(nil, v, " ", i))
		s.attrs.Keys.Append(key)
		s.attrs.Vals.Append(text[:i%len(text)])
		s.sizes.Keys.Append(key)
		s.sizes.Vals.Append(uint16(v + i))
	}
	s.texts.EndRow()
	s.attrs.EndRow()
	s.sizes.EndRow()
}

type runOf struct{ v, pairs, rows int }

// What is kept once per run must be the block that columns are that write every row, down to its frames.
func TestRunsAreThoseOfColumnsThatWriteEachRow(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(runs, values, pairs, rows int) (list []runOf) {
		for range runs {
			list = append(list, runOf{rnd.IntN(values), rnd.IntN(pairs), 1 + rnd.IntN(rows)})
		}
		return list
	}
	var once, each Builder
	var runs Repeats
	short := newShapes(func(name string, c Repeatable) { runs.Add(&once, name, c) })
	long := newShapes(func(name string, c Repeatable) { each.Add(name, c) })
	for name, list := range map[string][]runOf{
		"one row":              {{7, 2, 1}},
		"one run":              {{7, 2, 100}},
		"no pairs":             {{1, 0, 3}, {2, 0, 40}},
		"no pairs at an end":   {{1, 0, 3}, {2, 3, 4}, {3, 0, 2}},
		"a frame and more":     {{3, 1, frameBytes/8 + 1}, {4, 2, 5}, {5, 0, 3 * frameBytes}},
		"rows above a frame":   {{6, 9000, 9}, {7, 1, 3}},
		"rows of single rows":  random(500, 30, 20, 1),
		"indexes of two bytes": random(400, 1000, 15, 60),
		"many short runs":      random(3000, 20, 15, 10),
		"random":               random(50, 50, 300, 100),
	} {
		t.Run(name, func(t *testing.T) {
			once.Reset() // a column that was reset is as good as new
			each.Reset()
			rows := 0
			for _, r := range list {
				short.append(r.v, r.pairs)
				runs.EndRun(r.rows)
				for range r.rows {
					long.append(r.v, r.pairs)
				}
				rows += r.rows
			}
			if runs.Rows() != rows {
				t.Errorf("%d rows, want %d", runs.Rows(), rows)
			}
			want := each.Encode(rows)
			for range 2 { // encoding changes nothing
				got := once.Encode(rows)
				if got.Raw != want.Raw || got.Columns != want.Columns || !bytes.Equal(got.Data, want.Data) {
					t.Errorf("block of %d bytes, of columns that write each row %d: not the same", got.Raw, want.Raw)
				}
			}
		})
	}
}

func TestRunsAreForgottenOnReset(t *testing.T) {
	var b Builder
	var runs Repeats
	text, number := NewLowCardinality(), NewFixed[uint8]("UInt8")
	runs.Add(&b, "t", text)
	runs.Add(&b, "n", number)
	text.Append([]byte("of another tenant"))
	number.Append(1)
	runs.EndRun(3)
	b.Reset()
	if runs.Rows() != 0 {
		t.Errorf("%d rows after Reset", runs.Rows())
	}
	text.Append([]byte("own"))
	number.Append(2)
	runs.EndRun(2)
	want := "\x01t\x16LowCardinality(String)\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x03own" +
		"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01n\x05UInt8\x02\x02"
	if got := raw(t, b.Encode(2).Data); string(got) != want {
		t.Errorf("block %q, want %q", got, want)
	}
}

// A member without its row, or with one too many, would give rows the values of others.
func TestEncodeRefusesMembersThatLackARun(t *testing.T) {
	for _, rows := range []int{0, 1, 3} {
		var b Builder
		var runs Repeats
		whole, other := NewFixed[uint8]("UInt8"), NewFixed[uint8]("UInt8")
		runs.Add(&b, "whole", whole)
		runs.Add(&b, "other", other)
		whole.AppendAll([]uint8{1, 2})
		other.AppendAll(make([]uint8, rows))
		runs.EndRun(5)
		runs.EndRun(6)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a column of %d rows was encoded as 2 runs", rows)
				}
			}()
			b.Encode(11)
		}()
	}
}
