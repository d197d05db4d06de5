package engine

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ClickHouse/ch-go/compress"
)

func TestBlocksThatBreakOffAreNoEnd(t *testing.T) {
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	var whole []byte
	ends := map[int]bool{0: true}
	for range 3 {
		if err := w.Compress(bytes.Repeat([]byte("abc"), 20)); err != nil {
			t.Fatal(err)
		}
		whole = append(whole, w.Data...)
		ends[len(whole)] = true
	}
	for cut := range len(whole) + 1 {
		got, err := io.ReadAll(newBlockReader(bytes.NewReader(whole[:cut])))
		if ends[cut] != (err == nil) {
			t.Errorf("cut at %d of %d: read %d bytes, %v", cut, len(whole), len(got), err)
		}
	}
}

func TestFillKeepsEndAndBreakApart(t *testing.T) {
	p := make([]byte, 8)
	if n, err := fill(iotest.OneByteReader(bytes.NewReader([]byte("abc"))), p); n != 3 || err != io.EOF {
		t.Errorf("fill of a short body = %d, %v, want 3, EOF", n, err)
	}
	broken := io.MultiReader(bytes.NewReader([]byte("abc")), iotest.ErrReader(io.ErrUnexpectedEOF))
	if n, err := fill(broken, p); n != 3 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("fill of a broken body = %d, %v, want 3, unexpected EOF", n, err)
	}
	if n, err := fill(bytes.NewReader(make([]byte, 9)), p); n != 8 || err != nil {
		t.Errorf("fill of a long body = %d, %v, want 8, nil", n, err)
	}
}
