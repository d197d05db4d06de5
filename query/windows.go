package query

import "time"

// windows divides a time range for a search that wants so many things from one end of it, each window beginning where the
// one before ended. What is frequent is found in a small part of the range; what is rare costs little more than the whole
// range at once, because the windows are few and the last takes all that is left.
//
// A window is as long as what was found so far says that it must be: a search that found nothing of a hundred things in a
// quarter of an hour has days to look through. Not for concurrent use.
type windows struct {
	start, end time.Time // what is left, half-open
	oldest     bool      // the first window begins at start, not at end
	want       int
	seen       time.Duration // in windows so far
	asked      int
}

const (
	firstWindow = 15 * time.Minute
	mostWindows = 4
	// growth is what a window has at least of all before it, together.
	growth = 4
	// spare is how much longer a window is than it must be where things are as frequent as so far.
	spare = 1.5
	// unseen is the same where nothing was found.
	unseen = 4
	// windowStep is what windows end at: the sorting keys of logs and spans have steps of time, which are read whole.
	windowStep = 5 * time.Minute
)

// newWindows divides the range from start to before end for a search that wants so many, from its end.
func newWindows(start, end time.Time, want int) *windows {
	return &windows{start: start, end: end, want: want}
}

// next returns the next window, half-open, after so many were found in all before it. It reports false when there are enough
// or the range has ended.
func (w *windows) next(found int) (from, until time.Time, ok bool) {
	left := w.end.Sub(w.start)
	if left <= 0 || w.asked > 0 && found >= w.want {
		return from, until, false
	}
	w.asked++
	from, until = w.start, w.end
	if size := w.size(found); w.asked < mostWindows && size < left/2 {
		// To the step beyond, so that no step is read twice.
		if w.oldest {
			until = from.Add(size + windowStep - 1).Truncate(windowStep)
		} else {
			from = until.Add(-size).Truncate(windowStep)
		}
	}
	if w.oldest {
		w.start = until
	} else {
		w.end = from
	}
	w.seen += until.Sub(from)
	return from, until, true
}

// size is how long the next window should be.
func (w *windows) size(found int) time.Duration {
	if w.asked == 1 {
		return firstWindow
	}
	need := float64(w.want) * unseen
	if found > 0 {
		need = float64(w.want) / float64(found) * spare
	}
	if need > float64(w.end.Sub(w.start))/float64(w.seen) {
		return w.end.Sub(w.start) // and never more than a Duration holds
	}
	return max(growth*w.seen, time.Duration(need*float64(w.seen))-w.seen)
}

// back takes back the window that next returned last, which could not be looked through: the next is all that is left.
func (w *windows) back(from, until time.Time) {
	if w.oldest {
		w.start = from
	} else {
		w.end = until
	}
	w.asked = mostWindows - 1
}

// last reports whether the window that next returned last ends the range.
func (w *windows) last() bool { return !w.start.Before(w.end) }
