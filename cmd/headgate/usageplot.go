package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const (
	plotDays   = 14
	plotHeight = 8  // lines of bars
	plotWidth  = 80 // where the width of the terminal is not known
)

// bar is one bar of a plot.
type bar struct {
	label string
	n     int64 // below 0 is drawn as 0
}

// plotUsage prints bars of the bytes billed on each of the last days.
func plotUsage(cmd *cobra.Command, c *client, u usageFlags) error {
	zone := time.UTC
	if u.zone != "" {
		var err error
		if zone, err = time.LoadLocation(u.zone); err != nil {
			return err
		}
	}
	now := timeNow().In(zone)
	last := usageFlags{tenant: u.tenant, descendants: u.descendants, zone: u.zone,
		from: now.AddDate(0, 0, 1-plotDays).Format(time.DateOnly)}
	query := last.query()
	query.Set("by", "day")
	usage, err := fetchUsage(cmd, c, query)
	if err != nil {
		return err
	}
	days := map[string]int64{}
	for _, r := range usage.Rows {
		days[r.Start.Format("01-02")] += r.BilledBytes
	}
	var bars []bar
	for i := plotDays - 1; i >= 0; i-- {
		label := now.AddDate(0, 0, -i).Format("01-02")
		bars = append(bars, bar{label, days[label]})
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "\nBilled per day\n")
	plotBars(w, bars, terminalWidth(w), localeIsUTF8())
	return nil
}

// plotBars draws bars of bytes over an axis, none wider than width. If not all fit, the first are left out.
func plotBars(w io.Writer, bars []bar, width int, utf8 bool) {
	plotWith(w, bars, width, utf8, false, shortBytes)
}

// plotWith is plotBars for numbers that show prints. Narrow bars take one character where they do not fit otherwise; then
// only the first and the last have labels.
func plotWith(w io.Writer, bars []bar, width int, utf8, narrow bool, show func(int64) string) {
	var most int64
	for _, b := range bars {
		most = max(most, b.n)
	}
	top := niceAbove(most)
	axis := 0
	for line := plotHeight; line >= 0; line-- {
		axis = max(axis, len(tick(top, line, show)))
	}
	column := 6 // a label and a blank
	if narrow = narrow && len(bars)*column > width-axis-3; narrow {
		column = 1
	}
	fit := max(1, (width-axis-3)/column)
	bars = bars[max(0, len(bars)-fit):]
	blocks, corner, rule, wall := []rune(" ▁▂▃▄▅▆▇█"), "└", "─", "│"
	if !utf8 {
		blocks, corner, rule, wall = []rune(" #"), "+", "-", "|"
	}
	for line := plotHeight; line > 0; line-- {
		var out strings.Builder
		fmt.Fprintf(&out, "%*s %s", axis, tick(top, line, show), wall)
		for _, b := range bars {
			c := string(cell(b.n, top, line, blocks))
			if narrow {
				out.WriteString(c)
				continue
			}
			out.WriteString(" " + strings.Repeat(c, column-2) + " ")
		}
		fmt.Fprintln(w, strings.TrimRight(out.String(), " "))
	}
	fmt.Fprintf(w, "%*s %s%s\n", axis, "0", corner, strings.Repeat(rule, len(bars)*column))
	var labels strings.Builder
	if last := bars[len(bars)-1].label; narrow {
		first := bars[0].label
		labels.WriteString(first + strings.Repeat(" ", max(1, len(bars)-len(first)-len(last))) + last)
		bars = nil
	}
	for _, b := range bars {
		fmt.Fprintf(&labels, " %-*s", column-1, b.label)
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Repeat(" ", axis+2)+labels.String(), " "))
}

// cell returns what a bar of n shows in a line, the lowest of which is 1. What is above 0 shows at least something.
func cell(n, top int64, line int, blocks []rune) rune {
	steps := len(blocks) - 1
	filled := int(float64(max(n, 0)) / float64(top) * plotHeight * float64(steps))
	if n > 0 {
		filled = max(filled, 1)
	}
	return blocks[min(max(filled-(line-1)*steps, 0), steps)]
}

// tick returns the number at a line of the axis: at the top and in the middle.
func tick(top int64, line int, show func(int64) string) string {
	if line == plotHeight || line == plotHeight/2 {
		return show(top / plotHeight * int64(line))
	}
	return ""
}

// niceAbove returns a number at or above n that an axis can be divided by: 8, 16, 32, 40 or 80 of a decimal power.
func niceAbove(n int64) int64 {
	for power := int64(1); power <= 1e16; power *= 10 {
		for _, step := range []int64{8, 16, 32, 40} {
			if step*power >= n {
				return step * power
			}
		}
	}
	return max(n, plotHeight)
}

// shortBytes prints n in decimal units: 1.6 GB.
func shortBytes(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	x, u := float64(n), 0
	for x >= 1000 && u < len(units)-1 {
		x, u = x/1000, u+1
	}
	return strconv.FormatFloat(x, 'g', 4, 64) + " " + units[u]
}

// isTerminal says whether w is a terminal, on which people look.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return plotWidth
}

// localeIsUTF8 says whether the environment names a locale whose characters are UTF-8, as setlocale(3) reads it.
func localeIsUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
