package tenant

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func TestDaysOfAZoneFollowEachOther(t *testing.T) {
	for _, name := range []string{"", "Europe/Berlin", "America/St_Johns", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Kathmandu",
		"Pacific/Apia", "Pacific/Kiritimati", "Australia/Lord_Howe", "Asia/Beirut", "America/Havana", "+05:45", "-14:00"} {
		z, err := LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2011, 12, 20, 0, 0, 0, 0, time.UTC)
		before := z.Day(at)
		for at.Year() < 2027 {
			at = time.Unix(before.End, 0)
			d := z.Day(at)
			if d.Start != before.End || d.Number <= before.Number || d.Number > before.Number+2 || d.End-d.Start < 23*3600 || d.End-d.Start > 25*3600 {
				t.Fatalf("%s: day %+v follows %+v", name, d, before)
			}
			if last := z.Day(time.Unix(d.End-1, 0)); last != d {
				t.Fatalf("%s: the last second of %+v is of %+v", name, d, last)
			}
			before = d
		}
	}
}

func TestDayWhereClocksChange(t *testing.T) {
	berlin, err := LoadZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at    string
		hours int64
		start string
	}{
		{"2026-03-29T12:00:00+02:00", 23, "2026-03-29T00:00:00+01:00"},
		{"2026-10-25T12:00:00+01:00", 25, "2026-10-25T00:00:00+02:00"},
		{"2026-10-26T00:00:00+01:00", 24, "2026-10-26T00:00:00+01:00"},
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		start, _ := time.Parse(time.RFC3339, c.start)
		d := berlin.Day(at)
		if d.Start != start.Unix() || d.End-d.Start != c.hours*3600 {
			t.Errorf("day of %s begins %s and lasts %d s, want %s and %d hours", c.at, time.Unix(d.Start, 0).UTC(), d.End-d.Start, c.start, c.hours)
		}
	}
}

func TestUnknownZonesAreRefused(t *testing.T) {
	for _, name := range []string{"Mars/Olympus", "Local", "+15:00", "+5:30", "+05:60", "../etc/passwd", "Europe/Berlin\x00", "utc "} {
		if z, err := LoadZone(name); err == nil {
			t.Errorf("LoadZone(%q) = %v, want an error", name, z)
		}
	}
	for _, name := range []string{"", "UTC"} {
		if z, err := LoadZone(name); z != nil || err != nil || z.String() != "UTC" {
			t.Errorf("LoadZone(%q) = %v, %v", name, z, err)
		}
	}
}

func TestBoundsAreChecked(t *testing.T) {
	bad := []Bound{
		{Kind: "bytes"}, {Kind: DailyBytes, Max: 1}, {Kind: DailyBytes, Signal: "smells", Max: 1},
		{Kind: DailyBytes, Signal: "logs", Max: -1}, {Kind: BytesPerSecond, Max: MaxBound + 1},
		{Kind: BytesPerSecond, Max: 1, Burst: -1}, {Kind: InFlightRequests, Max: 1, Burst: 1},
		{Kind: StorageBytes, Signal: "logs", Max: 1},
	}
	for _, b := range bad {
		if CheckBounds([]Bound{b}) == nil {
			t.Errorf("%+v is accepted", b)
		}
	}
	two := Bound{Kind: RequestsPerSecond, Max: 5, Burst: 10}
	if err := CheckBounds([]Bound{two, {Kind: RequestsPerSecond, Signal: "logs", Max: 5}}); err != nil {
		t.Error(err)
	}
	if CheckBounds([]Bound{two, two}) == nil {
		t.Error("the same bound twice is accepted")
	}
}
