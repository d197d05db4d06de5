package prom

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
)

// The times that a range without a start or an end has, as clients of Prometheus write them.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
)

// time returns a parameter that is a time: Unix seconds, or RFC 3339. or is for none.
func (r *request) time(name string, or time.Time) (time.Time, error) {
	s := r.param(name)
	if s == "" && !or.IsZero() {
		return or, nil
	}
	t, err := parseTime(s)
	if err != nil {
		return t, badParam(name, err)
	}
	return t, nil
}

func parseTime(s string) (time.Time, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if math.IsNaN(f) || math.Abs(f) > float64(maxTime.Unix()) {
			return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", short(s))
		}
		sec, frac := math.Modf(f)
		return time.Unix(int64(sec), int64(math.Round(frac*1000)*1e6)).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	// Their years have more digits than the layout takes.
	for _, t := range []time.Time{minTime, maxTime} {
		if s == t.Format(time.RFC3339Nano) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", short(s))
}

func parseDuration(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if ns := f * float64(time.Second); math.Abs(ns) < math.MaxInt64 {
			return time.Duration(ns), nil
		}
		return 0, fmt.Errorf("cannot parse %q to a valid duration: it overflows", short(s))
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", short(s))
}

func short(s string) string { return fmt.Sprintf("%.60s", s) }

// span returns the milliseconds of the parameters start and end, all times without them.
func (r *request) span() (mint, maxt int64, err error) {
	start, err := r.time("start", minTime)
	if err != nil {
		return 0, 0, err
	}
	end, err := r.time("end", maxTime)
	if err != nil {
		return 0, 0, err
	}
	if end.Before(start) {
		return 0, 0, badData("end timestamp must not be before start time")
	}
	return timestamp.FromTime(start), timestamp.FromTime(end), nil
}

// limit returns a parameter that says how many results are wanted, 0 for all.
func (r *request) limit(name string) (int, error) {
	s := r.param(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, badParam(name, fmt.Errorf("%q is not a number", short(s)))
	}
	if n < 0 {
		return 0, badParam(name, errors.New("limit must be non-negative"))
	}
	return n, nil
}

// errCut says that a limit cut a result.
var errCut = errors.New("results truncated due to limit")

// matchers returns the selectors of match[], each with something that it does not match.
func (r *request) matchers() ([][]*labels.Matcher, error) {
	var sets [][]*labels.Matcher
	for _, s := range r.Form["match[]"] {
		set, err := r.handler.parser.ParseMetricSelector(s)
		if err != nil {
			return nil, badParam("match[]", err)
		}
		if matchesAll(set, labels.EmptyLabels()) {
			return nil, badParam("match[]", errors.New("match[] must contain at least one non-empty matcher"))
		}
		sets = append(sets, set)
	}
	return sets, nil
}
