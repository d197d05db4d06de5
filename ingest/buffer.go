package ingest

import (
	"errors"
	"io"
	"math/bits"
	"sync"
)

// buffer is bytes in memory that is taken from the budget before it is used and reused afterwards. Its capacity is a power
// of two that doubles as it fills, so that memory of one request fits the next.
type buffer struct {
	b     []byte
	probe [64]byte
}

// A taker is asked before a buffer grows from one capacity to another.
type taker func(have, want int64) error

// Capacities are 16 KiB to 1 GiB, the most that --max-body may be; above 4 MiB only every other power of two. sync.Pool gives the memory back where nobody needs it
// for two garbage collections.
const (
	minBufferBits   = 14
	largeBufferBits = 22
	maxBufferBits   = 30
)

var bufferMemory [maxBufferBits + 1]sync.Pool // of *[]byte, by the binary logarithm of their capacity

func newMemory(class int) []byte {
	if p, ok := bufferMemory[class].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// free gives the memory back. The caller takes care of the budget.
func (b *buffer) free() {
	if c := cap(b.b); c > 0 {
		whole := b.b[:0]
		bufferMemory[bits.Len(uint(c))-1].Put(&whole)
	}
	b.b = nil
}

// reserve makes room for n bytes in all. What it takes is asked of take, which is told the capacity that b has and the one
// that it is to have.
func (b *buffer) reserve(n int64, take taker) error {
	have := int64(cap(b.b))
	if n <= have {
		return nil
	}
	class := max(minBufferBits, bits.Len64(uint64(n-1)))
	if class > largeBufferBits { // what was outgrown stays around until it is collected: less of it
		class += (class - largeBufferBits) % 2
	}
	if class > maxBufferBits {
		return errTooLarge
	}
	if err := take(have, 1<<class); err != nil {
		return err
	}
	larger := append(newMemory(class), b.b...)
	b.free()
	b.b = larger
	return nil
}

// readAtOnce bounds what one read copies or inflates, and with it how long a processor is away: some tens of microseconds.
const readAtOnce = 256 << 10

// maxIdle is how often on end a reader may read nothing.
const maxIdle = 100

// readAll adds what r has, up to limit bytes in all; one byte more is errTooLarge.
func (b *buffer) readAll(r io.Reader, limit int64, take taker) error {
	for idle := 0; ; {
		into := b.b[len(b.b):min(cap(b.b), len(b.b)+readAtOnce)]
		full := len(into) == 0
		if full { // is there more? A body that just fits must not make the buffer grow.
			into = b.probe[:]
		}
		n, err := r.Read(into)
		if int64(len(b.b)+n) > limit {
			return errTooLarge
		}
		if full && n > 0 {
			if err := b.reserve(int64(len(b.b)+n), take); err != nil {
				return err
			}
			b.b = append(b.b, into[:n]...)
		} else {
			b.b = b.b[:len(b.b)+n]
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n > 0:
			idle = 0
		default:
			if idle++; idle > maxIdle {
				return io.ErrNoProgress
			}
		}
	}
}
