package jaeger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate-io/headgate/query/oql"
)

// The bounds of what a request may ask for.
const (
	defaultTraces = 20
	maxTraces     = 1500
	maxTags       = 50
	maxNameBytes  = 1024 // of a service, an operation, or a tag's key
	maxValueBytes = 8192 // of a tag's value
)

// defaultLookback is how far back a search without a start looks, and a request for dependencies without a lookback.
const (
	defaultLookback             = time.Hour
	defaultDependenciesLookback = 24 * time.Hour
)

// values returns the parameters of a request. Those that do not parse are told, not dropped as url.URL.Query does.
func values(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("the parameters after '?' are not understood: write ';' as %%3B, '%%' as %%25")
	}
	return q, nil
}

func unparsed(param, format string, args ...any) error {
	return invalid("unable to parse param '%s': %s", param, fmt.Sprintf(format, args...))
}

// unixTime reads a whole number of units since 1970, or returns or for a parameter that is not there.
func unixTime(q url.Values, param string, unit time.Duration, or time.Time) (time.Time, error) {
	s := q.Get(param)
	if s == "" {
		return or, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > int64(endTime.Sub(firstTime)/unit) {
		return or, unparsed(param, "%.40q is no whole number of %s since 1970 before the year 2106", s, units[unit])
	}
	return firstTime.Add(time.Duration(n) * unit), nil
}

var units = map[time.Duration]string{time.Microsecond: "microseconds", time.Millisecond: "milliseconds"}

func duration(q url.Values, param string) (time.Duration, error) {
	s := q.Get(param)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, unparsed(param, "%.40q is no duration such as 1.2s, 100ms or 500us", s)
	}
	return d, nil
}

func name(q url.Values, param string) (string, error) {
	s := q.Get(param)
	if len(s) > maxNameBytes {
		return "", unparsed(param, "it has %d bytes of at most %d", len(s), maxNameBytes)
	}
	return s, nil
}

func limit(q url.Values, param string) (int, error) {
	s := q.Get(param)
	if s == "" {
		return defaultTraces, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxTraces {
		return 0, unparsed(param, "%.40q is no number of traces from 1 to %d", s, maxTraces)
	}
	return n, nil
}

// parseTraceID reads 1 to 32 hexadecimal digits of either case as the id of a table: 32 digits in lower case.
func parseTraceID(s string) (string, error) {
	if s == "" || len(s) > 32 || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		return "", invalid("%.60q is no trace id: it has 16 or 32 hexadecimal digits", s)
	}
	return strings.Repeat("0", 32-len(s)) + strings.ToLower(s), nil
}

// parseTags reads tag=key:value, which may be repeated, and tags={"key":"value"}.
func parseTags(simple, documents []string) ([]pair, error) {
	tags := map[string]string{}
	for _, s := range simple {
		key, value, ok := strings.Cut(s, ":")
		if !ok {
			return nil, invalid("malformed 'tag' parameter, expecting key:value, received: %.60s", s)
		}
		tags[key] = value
	}
	for _, s := range documents {
		if err := addTags(tags, s); err != nil {
			return nil, invalid("malformed 'tags' parameter, %v", err)
		}
	}
	list, err := sortedTags(tags)
	if err != nil {
		return nil, invalid("malformed 'tags' parameter, %v", err)
	}
	return list, nil
}

// addTags adds the members of a JSON object. Values that are no text are taken as the text that attributes have.
func addTags(tags map[string]string, document string) error {
	if document == "" {
		return nil
	}
	var m map[string]any
	dec := json.NewDecoder(strings.NewReader(document))
	dec.UseNumber()
	err := dec.Decode(&m)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("something follows")
		}
	}
	if err != nil {
		return errors.New("cannot unmarshal JSON: want an object such as {\"http.status_code\":\"500\"}")
	}
	for key, v := range m {
		switch v.(type) {
		case string, json.Number, bool:
			tags[key] = fmt.Sprint(v)
		default:
			return fmt.Errorf("the value of %.60q is no text, number or truth value", key)
		}
	}
	return nil
}

func sortedTags(tags map[string]string) (out []pair, err error) {
	if len(tags) > maxTags {
		return nil, fmt.Errorf("%d tags are more than %d", len(tags), maxTags)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if len(key) > maxNameBytes || len(tags[key]) > maxValueBytes {
			return nil, fmt.Errorf("tag %.60q: a key has at most %d bytes, a value %d", key, maxNameBytes, maxValueBytes)
		}
		out = append(out, pair{key, tags[key]})
	}
	return out, nil
}

// search reads the parameters of /api/traces.
func (h *handler) search(q url.Values, maxRange time.Duration) (c criteria, ids []string, err error) {
	if c.service, err = name(q, "service"); err != nil {
		return c, nil, err
	}
	if c.operation, err = name(q, "operation"); err != nil {
		return c, nil, err
	}
	if c.start, c.end, err = h.searchRange(q, maxRange); err != nil {
		return c, nil, err
	}
	if c.tags, err = parseTags(q["tag"], q["tags"]); err != nil {
		return c, nil, err
	}
	if c.limit, err = limit(q, "limit"); err != nil {
		return c, nil, err
	}
	if c.minDuration, err = duration(q, "minDuration"); err != nil {
		return c, nil, err
	}
	if c.maxDuration, err = duration(q, "maxDuration"); err != nil {
		return c, nil, err
	}
	for _, s := range q["traceID"] {
		id, err := parseTraceID(s)
		if err != nil {
			return c, nil, invalid("cannot parse traceID param: %v", message(err))
		}
		ids = append(ids, id)
	}
	if ids = unique(ids); len(ids) > maxTraces {
		return c, nil, invalid("%d trace ids are more than %d", len(ids), maxTraces)
	}
	if len(ids) == 0 && c.service == "" {
		return c, nil, invalid("parameter 'service' is required")
	}
	return c, ids, c.check("maxDuration", "minDuration")
}

// check holds what parameters must be to each other.
func (c criteria) check(longest, shortest string) error {
	if c.maxDuration > 0 && c.maxDuration < c.minDuration {
		return invalid("'%s' should be greater than '%s'", longest, shortest)
	}
	return nil
}

// searchRange is the range of start and end, both in. Without start it is lookback long, where that is a duration.
func (h *handler) searchRange(q url.Values, maxRange time.Duration) (start, end time.Time, err error) {
	if end, err = unixTime(q, "end", time.Microsecond, h.opts.Now()); err != nil {
		return start, end, err
	}
	back := defaultLookback
	if s := q.Get("lookback"); s != "" && s != "custom" && q.Get("start") == "" {
		if back, err = oql.ParseDuration(s); err != nil || back <= 0 {
			return start, end, unparsed("lookback", "%.40q is no duration such as 1h or 2d", s)
		}
	}
	if start, err = unixTime(q, "start", time.Microsecond, end.Add(-back)); err != nil {
		return start, end, err
	}
	return start, end.Add(time.Microsecond), checkRange(start, end.Add(time.Microsecond), maxRange)
}

func checkRange(start, end time.Time, longest time.Duration) error {
	if !start.Before(end) {
		return invalid("start is not before end")
	}
	if end.Sub(start) > longest {
		return invalid("the time range is longer than %d days", int(longest.Hours()/24))
	}
	return nil
}

// traceRange is the range in which a trace is looked up by its id: all times, unless start or end say otherwise.
func traceRange(q url.Values) (start, end time.Time, err error) {
	if start, err = unixTime(q, "start", time.Microsecond, firstTime); err != nil {
		return start, end, err
	}
	if end, err = unixTime(q, "end", time.Microsecond, endTime); err != nil {
		return start, end, err
	}
	if end.Before(start) {
		return start, end, invalid("start is not before end")
	}
	return start, end.Add(time.Microsecond), nil
}
