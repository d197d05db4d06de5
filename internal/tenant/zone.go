package tenant

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"sync/atomic"
	"time"
)

// Zone is where a tenant's days begin and end: a zone of the IANA time zone database, daylight saving included, or a fixed
// offset. A nil Zone is UTC. It is safe for concurrent use.
type Zone struct {
	name string
	loc  *time.Location
	last atomic.Pointer[Day]
}

// Day is a day of a zone.
type Day struct {
	Number     int64 // of its date: 0 is 1970-01-01
	Start, End int64 // unix seconds; it lasts 23 to 25 hours where clocks change, 24 elsewhere
}

const daySeconds = 24 * 60 * 60

var offset = regexp.MustCompile(`^([+-])(\d\d):(\d\d)$`)

// LoadZone returns the zone of a name such as Europe/Berlin, or of an offset such as +05:30 (at most 14:59 either way). "" and
// UTC are nil.
func LoadZone(name string) (*Zone, error) {
	if name == "" || name == "UTC" {
		return nil, nil
	}
	if m := offset.FindStringSubmatch(name); m != nil {
		hours, _ := strconv.Atoi(m[2])
		minutes, _ := strconv.Atoi(m[3])
		if hours > 14 || minutes > 59 {
			return nil, fmt.Errorf("time zone %q: want an offset up to 14:59", name)
		}
		seconds := (hours*60 + minutes) * 60
		if m[1] == "-" {
			seconds = -seconds
		}
		return &Zone{name: name, loc: time.FixedZone(name, seconds)}, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("time zone %.60q is unknown: want a name such as Europe/Berlin or an offset such as +05:30", name)
	}
	return &Zone{name: name, loc: loc}, nil
}

// String returns the name, UTC for nil.
func (z *Zone) String() string {
	if z == nil {
		return "UTC"
	}
	return z.name
}

// Day returns the day that t lies on.
func (z *Zone) Day(t time.Time) Day {
	now := t.Unix()
	if z == nil {
		n := floorDay(now)
		return Day{Number: n, Start: n * daySeconds, End: (n + 1) * daySeconds}
	}
	if d := z.last.Load(); d != nil && d.Start <= now && now < d.End {
		return *d
	}
	d := Day{Number: z.number(now)}
	// Clocks move by hours at most, and once a zone left a day out; so a day begins within two days of each of its moments.
	const span = 2 * daySeconds
	d.Start = now - span + int64(sort.Search(span, func(i int) bool { return z.number(now-span+int64(i)) >= d.Number }))
	d.End = now + int64(sort.Search(span, func(i int) bool { return z.number(now+int64(i)) > d.Number }))
	z.last.Store(&d)
	return d
}

// number returns the number of the date at a moment.
func (z *Zone) number(unix int64) int64 {
	_, offset := time.Unix(unix, 0).In(z.loc).Zone()
	return floorDay(unix + int64(offset))
}

func floorDay(unix int64) int64 {
	n := unix / daySeconds
	if unix%daySeconds < 0 {
		n--
	}
	return n
}
