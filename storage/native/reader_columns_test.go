package native

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// Whatever a Builder writes, a Reader reads: column by column, every row of those that it tells values of.
func TestReaderReadsWhatBuildersWrite(t *testing.T) {
	var r Reader
	for _, rows := range []int{3, 700, 1, 300} { // the second has indexes of two bytes, and many frames
		r.Reset(everyShape(rows, 5))
		seen := map[string]*Values{}
		for {
			name, c, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			seen[name] = c
		}
		if len(seen) != 21 {
			t.Fatalf("%d columns", len(seen))
		}
		for i := range rows {
			n := 5 + i
			m, mm := "", "tenant=t "
			if n%4 != 0 {
				m = fmt.Sprintf("k=%d other= ", n)
			}
			for column, want := range map[string]string{
				"s": string(bytes.Repeat([]byte("s"), n%200)), "u8": fmt.Sprint(uint8(n)), "u16": fmt.Sprint(uint16(n * 7)),
				"u32": fmt.Sprint(n), "u64": fmt.Sprint(^uint64(n)), "lc": fmt.Sprintf("value %d", n), "m": m, "mm": mm,
				"ts": fmt.Sprint(1700000000000000000 + n),
			} {
				got := ""
				switch c := seen[column]; {
				case c.Keys() != nil:
					for k, end := c.Row(i); k < end; k++ {
						got += fmt.Sprintf("%s=%s ", c.Keys().Text(k), c.Elems().Text(k))
					}
				case column == "s" || column == "lc":
					got = string(c.Text(i))
				default:
					got = fmt.Sprint(c.Uint64(i))
				}
				if got != want {
					t.Fatalf("%d rows: %s of row %d = %q, want %q", rows, column, i, got, want)
				}
			}
		}
	}
}

// A block that was cut off or changed is refused or read, without a panic and without memory beyond its own.
func TestReaderRefusesBrokenBlocks(t *testing.T) {
	b := everyShape(40, 0)
	all := func(b Block) (err error) {
		var r Reader
		r.Reset(b)
		for err == nil {
			_, _, err = r.Next()
		}
		return err
	}
	if err := all(b); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for n := range b.Data {
		cut := b
		cut.Data = b.Data[:n]
		if err := all(cut); !errors.Is(err, errBlock) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	plain := raw(t, b.Data)
	for i := range plain {
		for _, flip := range []byte{1, 0x80, 0xff} {
			changed := bytes.Clone(plain)
			changed[i] ^= flip
			data, _ := framing(nil, func(w *frames) { w.bytes(changed) })
			_ = all(Block{Rows: b.Rows, Columns: b.Columns, Data: data})
		}
	}
}
