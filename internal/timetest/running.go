package timetest

import (
	"sync/atomic"
	"time"
)

// spare is what is left of the hour, at least, when a Running clock begins: longer than the tests of a package may take.
const spare = 30 * time.Minute

// Running is a clock that runs as the machine's does, and can be moved on. It begins in the first half of an hour: no hour, day or
// month of what a test counts by them ends while it runs, whenever that is. All that a test compares with it has to be of this
// clock, not of time.Now. Safe for concurrent use.
type Running struct{ ahead atomic.Int64 }

// NewRunning makes a clock that shows the machine's time, or up to half an hour less.
func NewRunning() *Running { return runningAt(time.Now()) }

func runningAt(now time.Time) *Running {
	c := &Running{}
	last := now.Truncate(time.Hour).Add(time.Hour - spare)
	c.ahead.Store(int64(min(0, last.Sub(now))))
	return c
}

// RunningBehind makes a clock that shows so much less than the machine's: that of another process.
func RunningBehind(d time.Duration) *Running {
	c := &Running{}
	c.ahead.Store(-int64(d))
	return c
}

// Behind is how much less than the machine's time the clock shows.
func (c *Running) Behind() time.Duration { return -time.Duration(c.ahead.Load()) }

// Now is the time that the clock shows.
func (c *Running) Now() time.Time { return c.of(time.Now()) }

func (c *Running) of(now time.Time) time.Time { return now.Add(time.Duration(c.ahead.Load())) }

// Add moves the clock on by d.
func (c *Running) Add(d time.Duration) { c.ahead.Add(int64(d)) }
