package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/headgate-io/headgate/internal/race"
)

// A frame as ClickHouse writes one: its own reader is asked in TestEngineReadsBlocksBack, this pins the bytes.
func TestFrameIsTheBytesOfTheFormat(t *testing.T) {
	got, n := framing(nil, func(w *frames) { w.bytes([]byte("0123456789")) })
	// Checksum, method, sizes; LZ4: a token for ten literals, and they.
	want := unhex(t, "8f4c4ce776b2fd9e 47968a9e9fa226a3 82 14000000 0a000000 a0 30313233343536373839")
	if !bytes.Equal(got, want) || n != 10 {
		t.Errorf("frame of %d bytes\n got %x\nwant %x", n, got, want)
	}
}

// What comes out is what went in, however it was cut, and no frame holds more than its size.
func TestFramesAreWhatWasWritten(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3*frameBytes+17)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	text := bytes.Repeat([]byte("a line of a log "), 3*frameBytes/16+1)
	for name, sizes := range map[string][]int{
		"nothing":         {0},
		"a byte":          {1},
		"a frame":         {frameBytes},
		"over a frame":    {frameBytes + 1},
		"frames at once":  {3*frameBytes + 17},
		"small and large": {5, 2 * frameBytes, 9, frameBytes - 1, frameBytes - 14},
	} {
		for _, src := range [][]byte{noise, text} {
			var want []byte
			got, n := framing([]byte("x"), func(w *frames) {
				for _, size := range sizes {
					size = min(size, len(src))
					w.bytes(src[:size])
					want = append(want, src[:size]...)
				}
				w.times([]byte{1, 2, 3, 4, 5, 6, 7, 8}, frameBytes/4)
				for range frameBytes / 4 {
					want = append(want, 1, 2, 3, 4, 5, 6, 7, 8)
				}
			})
			if n != len(want) || got[0] != 'x' || !bytes.Equal(raw(t, got[1:]), want) {
				t.Errorf("%s: %d bytes came out otherwise than the %d that went in", name, n, len(want))
			}
			for at := 1; at < len(got); {
				if n := binary.LittleEndian.Uint32(got[at+21:]); n == 0 || n > frameBytes {
					t.Errorf("%s: a frame of %d bytes", name, n)
				}
				at += 16 + int(binary.LittleEndian.Uint32(got[at+17:]))
			}
		}
	}
}

func TestDamagedFramesAreNotRead(t *testing.T) {
	framed, _ := framing(nil, func(w *frames) {
		w.bytes(bytes.Repeat([]byte("text "), 100))
		w.flush()
		w.bytes([]byte("more"))
	})
	for at := range framed {
		bad := slices.Clone(framed)
		bad[at] ^= 0x10
		if _, err := AppendRaw(nil, bad); err == nil {
			t.Errorf("frames whose byte %d was changed were read", at)
		}
	}
	whole := 0
	for n := range framed {
		if _, err := AppendRaw(nil, framed[:n]); err == nil {
			whole++
		}
	}
	if whole != 2 { // nothing, and the first frame alone
		t.Errorf("%d beginnings of frames were read, want 2", whole)
	}
}

func TestBlockGivenUpLeavesNothingBehind(t *testing.T) {
	secret := []byte("of another tenant")
	for range 100 {
		func() {
			defer func() { _ = recover() }()
			framing(nil, func(w *frames) {
				w.bytes(secret)
				panic("given up")
			})
		}()
		if framed, n := framing(nil, func(w *frames) { w.bytes([]byte("own")) }); string(raw(t, framed)) != "own" || n != 3 {
			t.Fatalf("the next block begins with what was given up: %q", raw(t, framed))
		}
	}
}

func TestNumbersAreLittleEndianOnEveryMachine(t *testing.T) {
	checkNumbers(t, []uint8{1, 255})
	checkNumbers(t, []uint16{1, 0x1234})
	checkNumbers(t, []uint32{1, math.MaxUint32})
	checkNumbers(t, []uint64{1, 0x0102030405060708})
	checkNumbers(t, []int32{-2, 7})
	checkNumbers(t, []int64{-2, 7})
	checkNumbers(t, []float64{1.5, math.Inf(-1)})
}

func checkNumbers[T Number](t *testing.T, vals []T) {
	t.Helper()
	framed, _ := framing(nil, func(w *frames) { numbers(w, vals) })
	got := raw(t, framed)
	if want := swapped(vals); !bytes.Equal(got, want) {
		t.Errorf("%T: %x, want %x", vals, got, want)
	}
	back := make([]T, len(vals))
	if _, err := binary.Decode(got, binary.LittleEndian, back); err != nil || !slices.Equal(back, vals) {
		t.Errorf("%v came back as %v, %v", vals, back, err)
	}
}

// Blocks of several requests are encoded at once, into memory that their callers give.
func TestBlocksAppendedAtOnceDoNotMix(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var b Builder
			c := NewString()
			b.Add("s", c)
			var dst []byte
			for i := range 50 {
				b.Reset()
				text := fmt.Sprint(g, "-", i)
				c.AppendN([]byte(text), 1000)
				first, all := b.Append(dst[:0], 1000)
				second, all := b.Append(all, 1000)
				got, err := AppendRaw(nil, all)
				if err != nil || bytes.Count(got, []byte(text)) != 2000 || len(got) != first.Raw+second.Raw ||
					!bytes.Equal(first.Data, second.Data) || len(all) != len(first.Data)+len(second.Data) {
					t.Errorf("%s: %d bytes, %v", text, len(got), err)
				}
				dst = all
			}
		})
	}
	wg.Wait()
}

func TestAppendAllocatesNothingOnceWarm(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector empties pools at random")
	}
	var b Builder
	c := NewString()
	b.Add("s", c)
	c.AppendN([]byte("some text that is repeated"), 50_000)
	var dst []byte
	if n := testing.AllocsPerRun(20, func() { _, dst = b.Append(dst[:0], 50_000) }); n > 1 { // the pool may have been emptied
		t.Errorf("%v allocations for a block", n)
	}
}

func BenchmarkAppendFrames(b *testing.B) {
	var nb Builder
	c := NewString()
	nb.Add("s", c)
	for i := range 20_000 {
		c.Append(fmt.Appendf(nil, "2026-11-22 request %x of user %d took %d ms", i*7919, i%97, i*31%1000))
	}
	block := nb.Encode(20_000)
	b.SetBytes(int64(block.Raw))
	b.ReportMetric(float64(block.Raw)/float64(len(block.Data)), "ratio")
	var dst []byte
	for b.Loop() {
		_, dst = nb.Append(dst[:0], 20_000)
	}
}
