package native

import (
	"bytes"
	"fmt"
	"testing"
)

// What is left to the end must be the block that columns are that write every row.
func TestLateRowsAreThoseOfColumnsThatWriteEachRow(t *testing.T) {
	texts := [][]byte{nil, []byte("a"), []byte("bc")}
	for _, values := range []string{"0", "1", "000", "0001", "1000", "111", "0110", "010101", "002200112", "2222222222222222222222222222222222222201"} {
		var late, each Builder
		runs, sparse, elem := NewRuns[uint32]("UInt32"), NewSparse(), NewFixed[uint8]("UInt8")
		var lists Nested
		late.Add("n", runs)
		late.Add("s", sparse)
		lists.Add(&late, "l", elem)
		fixed, text, array := NewFixed[uint32]("UInt32"), NewString(), NewArray(NewFixed[uint8]("UInt8"))
		each.Add("n", fixed)
		each.Add("s", text)
		each.Add("l", array)
		for again := range 2 { // a column that was reset is as good as new
			late.Reset()
			each.Reset()
			for row, digit := range []byte(values) {
				v := int(digit-'0') * (again + 1) % 3
				runs.Set(row, uint32(v))
				fixed.Append(uint32(v))
				if v > 0 {
					sparse.Set(row, texts[v])
				}
				text.Append(texts[v])
				for i := range v {
					lists.Begin()
					elem.Append(uint8(i))
					array.Elem.Append(uint8(i))
				}
				if v > 0 {
					lists.EndRow(row)
				}
				array.EndRow()
			}
			t.Run(fmt.Sprint(values, " ", again), func(t *testing.T) {
				want := raw(t, each.Encode(len(values)).Data)
				for range 2 { // encoding changes nothing
					if got := raw(t, late.Encode(len(values)).Data); !bytes.Equal(got, want) {
						t.Errorf("block %x, want %x", got, want)
					}
				}
			})
		}
	}
}

func TestRunsForgetTheirNumberOnReset(t *testing.T) {
	var b Builder
	runs := NewRuns[uint8]("UInt8")
	b.Add("n", runs)
	runs.Set(0, 7)
	b.Reset()
	if got, want := raw(t, b.Encode(2).Data), "\x01n\x05UInt8\x00\x00"; string(got) != want {
		t.Errorf("rows that nobody set: %q, want %q", got, want)
	}
}
