package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
)

// series are the numbers of a result by time: what a chart shows.
type series struct {
	name   string
	times  []time.Time
	values []float64
}

// seriesOf finds the first column of times and the first of numbers in a table whose rows have one time each, as bin(…)
// gives them. nil: there is no chart of this result.
func seriesOf(t *table) *series {
	if t == nil || len(t.rows) < 2 {
		return nil
	}
	at := slices.IndexFunc(t.rows[0], func(cell string) bool {
		_, err := time.Parse(time.RFC3339Nano, cell)
		return err == nil
	})
	number := slices.IndexFunc(t.rows[0], func(cell string) bool {
		n, err := strconv.ParseFloat(cell, 64)
		return err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	})
	if at < 0 || number < 0 {
		return nil
	}
	s := &series{name: t.header[number]}
	for _, row := range t.rows {
		when, err := time.Parse(time.RFC3339Nano, row[at])
		if err != nil {
			return nil
		}
		n, err := strconv.ParseFloat(row[number], 64)
		if err != nil {
			n = 0 // null
		}
		s.times, s.values = append(s.times, when), append(s.values, n)
	}
	if s.times[0].After(s.times[1]) {
		slices.Reverse(s.times)
		slices.Reverse(s.values)
	}
	for i := 1; i < len(s.times); i++ {
		if !s.times[i].After(s.times[i-1]) {
			return nil
		}
	}
	return s
}

// print draws the bars. Bins without rows, which results leave out, are bars of 0.
func (s *series) print(w io.Writer, width int, utf8 bool) {
	step := s.times[1].Sub(s.times[0])
	for i := 1; i < len(s.times); i++ {
		step = min(step, s.times[i].Sub(s.times[i-1]))
	}
	layout := "15:04"
	switch {
	case step >= 24*time.Hour:
		layout = "01-02"
	case step < time.Minute:
		layout = "04:05"
	}
	scale := 1.0 // bars are whole numbers: small ones are drawn in parts
	for most := slices.Max(s.values); most > 0 && most*scale < 1000 && scale < 1e12; {
		scale *= 10
	}
	const mostBars = 1000 // more than any terminal shows
	var bars []bar
	for i, when := range s.times {
		for gap := s.times[max(i-1, 0)].Add(step); gap.Before(when) && len(bars) < mostBars; gap = gap.Add(step) {
			bars = append(bars, bar{gap.UTC().Format(layout), 0})
		}
		bars = append(bars, bar{when.UTC().Format(layout), int64(min(s.values[i]*scale, math.MaxInt64/2))})
	}
	fmt.Fprintf(w, "\n%s\n", oneLine(s.name))
	plotWith(w, bars, width, utf8, true, func(n int64) string { return strconv.FormatFloat(float64(n)/scale, 'g', 4, 64) })
}
