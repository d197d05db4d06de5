package control

import (
	"net/url"
	"time"

	"github.com/headgate-io/headgate/metering"
)

// period is what a bill is for.
type period struct {
	from, to time.Time // zero: no end
	zone     *time.Location
}

// periodOf reads from and to, or month, in the zone.
func periodOf(q url.Values) (p period, err error) {
	p.zone = time.UTC
	if q.Has("zone") {
		if p.zone, err = metering.ParseZone(q.Get("zone")); err != nil {
			return p, usageProblem(err)
		}
	}
	if q.Has("month") {
		if q.Get("from") != "" || q.Get("to") != "" {
			return p, invalid("month is a period of its own: leave out from and to")
		}
		first, err := time.ParseInLocation("2006-01", q.Get("month"), p.zone)
		if err != nil || !inTime(first) {
			return p, invalid("month %q: want a month of 1970 to 9998, as 2026-10", clip(q.Get("month")))
		}
		p.from, p.to = first, first.AddDate(0, 1, 0)
		return p, nil
	}
	if p.from, err = momentIn("from", q.Get("from"), p.zone); err != nil {
		return p, err
	}
	if p.to, err = momentIn("to", q.Get("to"), p.zone); err != nil {
		return p, err
	}
	if !p.from.IsZero() && !p.to.IsZero() && p.to.Before(p.from) {
		return p, invalid("to %s is before from %s", p.to.Format(time.RFC3339), p.from.Format(time.RFC3339))
	}
	return p, nil
}

// inTime says whether the ledger can have hours at t: the years before and after are misspelt ones.
func inTime(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 9999 }

// moment is momentIn UTC.
func moment(name, s string) (time.Time, error) { return momentIn(name, s, time.UTC) }

// momentIn reads RFC 3339 or a date, which is its first moment in the zone; "" is the zero time.
func momentIn(name, s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		t, err := time.ParseInLocation(layout, s, zone)
		if err == nil && inTime(t.UTC()) {
			return t.UTC(), nil
		}
	}
	return time.Time{}, invalid("%s %q: want RFC 3339 (2026-11-01T00:00:00Z) or a date (2026-11-01) of 1970 to 9998", name, clip(s))
}
