package metering

import (
	"errors"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestZonesThatDivideHoursAreRefused(t *testing.T) {
	storetest.Each(t, testZonesThatDivideHoursAreRefused)
}

func testZonesThatDivideHoursAreRefused(t *testing.T) {
	l := newTestLedger(tempDB(t))
	day := func(y int) time.Time { return time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		zone     string
		from, to time.Time
		ok       bool
	}{
		{"Europe/Berlin", time.Time{}, time.Time{}, true},
		{"Pacific/Apia", day(2010), day(2013), true},
		{"Asia/Kolkata", time.Time{}, time.Time{}, false},
		{"Asia/Kathmandu", day(2024), day(2025), false},
		{"Australia/Lord_Howe", day(2024), day(2025), false}, // half an hour in summer
		{"America/Caracas", day(2017), day(2025), true},
		{"America/Caracas", day(2015), day(2025), false}, // half an hour until 2016
		{"America/Caracas", day(2015), day(2015), false},
	} {
		z, err := ParseZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Usage(deadline(t), Filter{Tenants: ids("a"), Zone: z, From: c.from, To: c.to})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrFilter) {
			t.Errorf("%s from %v to %v: %v, want ok %v", c.zone, c.from, c.to, err, c.ok)
		}
	}
	for _, name := range []string{"", "Local", "Mars/Base", "../UTC", "Europe", "\x00"} {
		if z, err := ParseZone(name); !errors.Is(err, ErrFilter) {
			t.Errorf("zone %q: %v, %v", name, z, err)
		}
	}
}

// Days of every zone follow one another without a gap, also where the clock is set at midnight or a day is left out.
func TestDaysFollowOneAnother(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Asia/Beirut",
		"Pacific/Apia", "Pacific/Kwajalein", "Africa/Cairo", "America/Santiago", "Asia/Gaza"} {
		z, err := ParseZone(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []Interval{ByDay, ByMonth} {
			at := time.Date(1993, 1, 1, 0, 0, 0, 0, z).Unix()
			if at%hourSeconds != 0 {
				t.Fatalf("%s: %d", name, at)
			}
			for end := time.Date(2026, 1, 1, 0, 0, 0, 0, z).Unix(); at < end; {
				start, next, err := span(by, z, at)
				if err != nil || start != at || next <= at {
					t.Fatalf("%s: the %s at %v is from %v to %v, %v", name, by, time.Unix(at, 0).In(z), time.Unix(start, 0).In(z), time.Unix(next, 0).In(z), err)
				}
				last := time.Unix(next-1, 0).In(z)
				if first := time.Unix(at, 0).In(z); by == ByDay && first.Format(time.DateOnly) != last.Format(time.DateOnly) {
					t.Fatalf("%s: a day from %v to %v", name, first, last)
				}
				at = next
			}
		}
	}
}
