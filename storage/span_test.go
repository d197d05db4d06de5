package storage

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// In whatever order requests land and are done, the oldest that is told is none too late, and too early by what a span may be.
func TestOldestOfASegmentFollowsTheUnfinished(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newSegment()
		unfinished := map[position]int64{}
		var at []position
		for n := range 500 {
			at = append(at, position(7<<32+n*8))
		}
		for block := 0; block < len(at); block += 5 { // appends that race
			random.Shuffle(5, func(i, j int) { at[block+i], at[block+j] = at[block+j], at[block+i] })
		}
		for n, p := range at {
			received := int64(n)*int64(100*time.Millisecond) - random.Int64N(int64(300*time.Millisecond))
			s.begin(received)
			if got := s.oldest(); got > received {
				t.Fatalf("seed %d: while it is appended %d is told, want %d at most", seed, got, received)
			}
			s.end(received)
			s.add(p, received)
			unfinished[p] = received
			for p := range unfinished {
				if random.IntN(3) == 0 {
					s.done(p)
					delete(unfinished, p)
				}
			}
			want := int64(math.MaxInt64)
			for _, r := range unfinished {
				want = min(want, r)
			}
			if got := s.oldest(); got > want || want != math.MaxInt64 && want-got > 3*spanLength || s.unfinished != len(unfinished) {
				t.Fatalf("seed %d: oldest of %d is %v, told %v", seed, len(unfinished), time.Duration(want), time.Duration(got))
			}
		}
		if len(s.spans) > 60 {
			t.Errorf("seed %d: %d spans of 50 seconds", seed, len(s.spans))
		}
		for p := range unfinished {
			s.done(p)
		}
		if s.oldest() != math.MaxInt64 || s.appending != 0 {
			t.Errorf("seed %d: oldest %v of nothing", seed, s.oldest())
		}
	}
}
