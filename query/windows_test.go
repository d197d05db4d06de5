package query

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestWindowsDivideTheRange: whatever is found, the windows of a range follow each other without a gap or an overlap and are
// few; they end when enough was found, or else with the range. Between them they stand on the steps of the sorting keys.
func TestWindowsDivideTheRange(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lengths := map[int]int{}
	for i := range 20_000 {
		start := hourStart.Add(time.Duration(r.Int64N(int64(time.Hour))))
		end := start.Add(1 + time.Duration(r.Int64N(int64(time.Minute)<<r.IntN(20))))
		w := newWindows(start, end, 1+r.IntN(2000))
		w.oldest = i%2 == 0
		found, n, at := 0, 0, end
		if w.oldest {
			at = start
		}
		for {
			from, until, ok := w.next(found)
			if !ok {
				break
			}
			n++
			near, far, border := until, from, end
			if w.oldest {
				near, far, border = from, until, start
			}
			if !from.Before(until) || !near.Equal(at) || from.Before(start) || until.After(end) {
				t.Fatalf("%v to %v: window %d is %v to %v, want one that begins at %v", start, end, n, from, until, at)
			}
			if at = far; !w.last() && !far.Equal(far.Truncate(windowStep)) {
				t.Fatalf("window %d ends at %v, off the steps", n, far)
			}
			if n == 1 && far.Sub(border).Abs() > firstWindow+windowStep && !w.last() {
				t.Fatalf("the first window is %v to %v", from, until)
			}
			if w.last() != (from.Equal(start) && !w.oldest || until.Equal(end) && w.oldest) {
				t.Fatalf("%v to %v: window %v to %v is the last: %v", start, end, from, until, w.last())
			}
			if i%7 == 0 && n == 2 && !w.last() {
				w.back(from, until)
				if f, u, ok := w.next(found); !ok || !w.last() || !w.oldest && (!f.Equal(start) || !u.Equal(until)) || w.oldest && (!f.Equal(from) || !u.Equal(end)) {
					t.Fatalf("after %v to %v came back: %v to %v, %v", from, until, f, u, ok)
				}
			}
			found += r.IntN(1 << r.IntN(11))
		}
		if n > mostWindows || n == 0 || found < w.want && !w.last() {
			t.Fatalf("%v to %v: %d windows, %d found of %d", start, end, n, found, w.want)
		}
		lengths[n]++
	}
	for n := 1; n <= mostWindows; n++ {
		if lengths[n] < 20 {
			t.Errorf("%d windows came %d times of 20,000", n, lengths[n])
		}
	}
}

// TestWindowsGrowWithWhatIsMissing: with nothing of a hundred found in the first window, a day is looked through at once; with
// half of them, what is missing is near.
func TestWindowsGrowWithWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		want, found int
		second      time.Duration
	}{
		{100, 0, 23*time.Hour + 45*time.Minute}, {100, 5, 7*time.Hour + 15*time.Minute}, {100, 50, time.Hour}, {100, 3, 23*time.Hour + 45*time.Minute}, {1, 0, time.Hour}, {1000, 20, 23*time.Hour + 45*time.Minute},
	} {
		w := newWindows(hourEnd.Add(-24*time.Hour), hourEnd, c.want)
		w.next(0)
		from, until, _ := w.next(c.found)
		if got := until.Sub(from); got < c.second-15*time.Minute-windowStep || got > c.second+windowStep {
			t.Errorf("%d found of %d: second window of %v, want %v", c.found, c.want, got, c.second)
		}
	}
}
