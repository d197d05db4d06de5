package metering

import (
	"fmt"
	"time"
	_ "time/tzdata" // zones are known also where the machine has no files of them
)

// ParseZone returns the IANA zone of that name, ErrFilter if there is none.
func ParseZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, fmt.Errorf("%w: zone %.50q: want the name of an IANA time zone, for example Europe/Berlin", ErrFilter, name)
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w: zone %.50q: want the name of an IANA time zone, for example Europe/Berlin", ErrFilter, name)
	}
	return z, nil
}

// checkZone refuses a zone whose clock is not a number of full hours from UTC in the period: the ledger has UTC hours, and
// none can be divided. Within the ledger span looks again.
func checkZone(z *time.Location, from, to, now time.Time) error {
	if from.IsZero() {
		from = now
	}
	if to.IsZero() {
		to = now
	}
	for at := from; ; {
		if _, offset := at.In(z).Zone(); offset%hourSeconds != 0 {
			return zoneError(z, at)
		}
		_, end := at.In(z).ZoneBounds()
		if end.IsZero() || !end.Before(to) {
			return nil
		}
		at = end
	}
}

func zoneError(z *time.Location, at time.Time) error {
	return fmt.Errorf("%w: zone %s: its clock is not full hours from UTC on %s, and usage is kept by UTC hours", ErrFilter, z,
		at.In(z).Format(time.DateOnly))
}

// span returns the ends of the span that the hour lies in.
func span(by Interval, z *time.Location, hour int64) (start, end int64, err error) {
	t := time.Unix(hour, 0).In(z)
	y, m, d := t.Date()
	switch by {
	case ByHour:
		return hour, hour + hourSeconds, nil
	case ByMonth:
		start, end = dayStart(y, m, 1, z), dayStart(y, m+1, 1, z)
	default:
		start, end = dayStart(y, m, d, z), dayStart(y, m, d+1, z)
	}
	if start%hourSeconds != 0 || end%hourSeconds != 0 {
		return 0, 0, zoneError(z, t)
	}
	return start, end, nil
}

// dayStart returns the first moment of a day. Where the clock is set at midnight that is not always 0:00, or not the only 0:00.
func dayStart(y int, m time.Month, d int, z *time.Location) int64 {
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC) // normal, and without a zone's jumps
	t := time.Date(y, m, d, 0, 0, 0, 0, z)
	if local(t).Before(day) { // 0:00 was skipped, and t is before the skip
		_, end := t.ZoneBounds()
		return end.Unix()
	}
	if earlier := t.Add(-time.Hour); !local(earlier).Before(day) { // 0:00 comes twice
		return earlier.Unix()
	}
	return t.Unix()
}

// local returns what the clock on the wall shows, as if it were UTC.
func local(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
