package timetest

import (
	"testing"
	"time"
)

// Whenever a test begins, half of the clock's hour is left, and the clock runs.
func TestRunningBeginsInTheFirstHalfOfAnHour(t *testing.T) {
	for _, c := range []struct{ begun, shows string }{
		{"2025-03-01T00:00:00Z", "2025-03-01T00:00:00Z"},
		{"2025-03-01T12:30:00Z", "2025-03-01T12:30:00Z"},
		{"2025-03-01T12:30:01Z", "2025-03-01T12:30:00Z"},
		{"2024-12-31T23:59:59.999Z", "2024-12-31T23:30:00Z"},
		{"2025-03-02T01:45:00+02:00", "2025-03-01T23:30:00Z"},
	} {
		begun, err := time.Parse(time.RFC3339Nano, c.begun)
		if err != nil {
			t.Fatal(err)
		}
		clock := runningAt(begun)
		for _, later := range []time.Duration{0, time.Millisecond, 29 * time.Minute} {
			if other := RunningBehind(clock.Behind()); !other.of(begun).Equal(clock.of(begun)) {
				t.Errorf("begun at %s that of another process shows %v, want %v", c.begun, other.of(begun), clock.of(begun))
			}
			if got := clock.of(begun.Add(later)).Add(-later).UTC().Format(time.RFC3339Nano); got != c.shows {
				t.Errorf("begun at %s it shows %s %v later, want that after %s", c.begun, got, later, c.shows)
			}
		}
		clock.Add(time.Hour)
		if got := clock.of(begun).Add(-time.Hour).UTC().Format(time.RFC3339Nano); got != c.shows {
			t.Errorf("begun at %s and moved on by an hour it shows %s, want that after %s", c.begun, got, c.shows)
		}
	}
}
