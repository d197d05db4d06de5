package jaeger

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// param3 returns the value of a parameter of version 3, which has a name in camel case and older ones, and the name that it
// was found by.
func param3(q url.Values, names ...string) (value, name string) {
	for _, n := range names {
		if v := q.Get(n); v != "" {
			return v, n
		}
	}
	return "", names[0]
}

func malformed(param, format string, args ...any) error {
	return invalid("malformed parameter %s: "+format, append([]any{param}, args...)...)
}

// time3 reads RFC 3339. A '+' of a zone that was not escaped has become a space on its way.
func time3(q url.Values, or time.Time, names ...string) (time.Time, error) {
	s, param := param3(q, names...)
	if s == "" {
		return or, nil
	}
	t, err := time.Parse(time.RFC3339Nano, strings.Replace(s, " ", "+", 1))
	if err != nil || t.Before(firstTime) || t.After(endTime) {
		return or, malformed(param, "%.40q is no time such as 2025-01-31T12:00:00Z, from 1970 to 2105", s)
	}
	return t.UTC(), nil
}

func duration3(q url.Values, names ...string) (time.Duration, error) {
	s, param := param3(q, names...)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, malformed(param, "%.40q is no duration such as 1.2s, 100ms or 500us", s)
	}
	return d, nil
}

func name3(q url.Values, names ...string) (string, error) {
	s, param := param3(q, names...)
	if len(s) > maxNameBytes {
		return "", malformed(param, "it has %d bytes of at most %d", len(s), maxNameBytes)
	}
	return s, nil
}

// search3 reads the parameters of /api/v3/traces.
func search3(q url.Values, maxRange time.Duration) (c criteria, err error) {
	if c.service, err = name3(q, "query.serviceName", "query.service_name"); err != nil {
		return c, err
	}
	if c.operation, err = name3(q, "query.operationName", "query.operation_name"); err != nil {
		return c, err
	}
	tags := map[string]string{}
	if err = addTags(tags, q.Get("query.attributes")); err == nil {
		c.tags, err = sortedTags(tags)
	}
	if err != nil {
		return c, malformed("query.attributes", "%v", err)
	}
	if err = raw3(q, "query.rawTraces", "query.raw_traces"); err != nil {
		return c, err
	}
	if q.Get("query.filter") != "" {
		return c, malformed("query.filter", "it is not supported: use query.attributes")
	}
	if c.start, err = time3(q, time.Time{}, "query.startTimeMin", "query.start_time_min"); err != nil {
		return c, err
	}
	if c.end, err = time3(q, time.Time{}, "query.startTimeMax", "query.start_time_max"); err != nil {
		return c, err
	}
	if c.start.IsZero() || c.end.IsZero() {
		return c, invalid("query.startTimeMin and query.startTimeMax are required")
	}
	if !c.start.Before(c.end) {
		return c, invalid("query.startTimeMin must be before query.startTimeMax")
	}
	c.end = c.end.Add(1) // both are in
	if err = checkRange(c.start, c.end, maxRange); err != nil {
		return c, err
	}
	c.limit = defaultTraces3
	if s, param := param3(q, "query.searchDepth", "query.search_depth", "query.num_traces", "query.numTraces"); s != "" {
		if c.limit, err = strconv.Atoi(s); err != nil || c.limit < 1 || c.limit > maxTraces {
			return c, malformed(param, "%.40q is no number of traces from 1 to %d", s, maxTraces)
		}
	}
	if c.minDuration, err = duration3(q, "query.durationMin", "query.duration_min"); err != nil {
		return c, err
	}
	if c.maxDuration, err = duration3(q, "query.durationMax", "query.duration_max"); err != nil {
		return c, err
	}
	return c, c.check("query.durationMax", "query.durationMin")
}

const defaultTraces3 = 100

// raw3 checks a parameter that asks for traces without Jaeger's adjustments, which headgate does not make.
func raw3(q url.Values, names ...string) error {
	if s, param := param3(q, names...); s != "" {
		if _, err := strconv.ParseBool(s); err != nil {
			return malformed(param, "%.40q is neither true nor false", s)
		}
	}
	return nil
}

// traceRange3 is traceRange for version 3.
func traceRange3(q url.Values) (start, end time.Time, err error) {
	if start, err = time3(q, firstTime, "startTime", "start_time"); err != nil {
		return start, end, err
	}
	if end, err = time3(q, endTime, "endTime", "end_time"); err != nil {
		return start, end, err
	}
	if end.Before(start) {
		return start, end, invalid("startTime must be before endTime")
	}
	return start, end.Add(1), raw3(q, "rawTraces", "raw_traces")
}
