package query

import (
	"encoding/json"
	"fmt"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/plan"
)

// request is the body of POST /api/v1/query.
type request struct {
	Query  string          `json:"query"`
	Plan   json.RawMessage `json:"plan"` // the query in its JSON form, in the place of Query
	Start  moment          `json:"start"`
	End    moment          `json:"end"`
	Format Format          `json:"format"`
	Limit  int             `json:"limit"`
	Cursor string          `json:"cursor"`  // next_cursor of the same request's answer
	MaxAge string          `json:"max_age"` // how old an answer may be that is given again
	Stats  bool            `json:"stats"`   // say what the query took

	Variables map[string]Variable `json:"variables"`
	Tenants   []string            `json:"tenants"` // names or ids: of those that the caller may read, only these
}

// moment is a time as requests write it: RFC 3339, a Unix time in seconds or nanoseconds (milli- and microseconds are
// told apart by their size too), "now", or relative to now as in "-1h".
type moment struct{ text string }

func (m *moment) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &m.text)
	}
	m.text = string(b)
	return nil
}

// defaultRange is how far back a request without a start looks.
const defaultRange = time.Hour

// absolute reports whether m names the same time whenever it is asked.
func (m moment) absolute() bool {
	s := strings.TrimSpace(m.text)
	return s != "" && s != "null" && s[0] != '-' && !strings.HasPrefix(s, "now")
}

// in returns the time that m is when the clock shows now, or or if it is not set.
func (m moment) in(now, or time.Time) (time.Time, error) {
	s := strings.TrimSpace(m.text)
	switch {
	case s == "" || s == "null":
		return or, nil
	case s == "now":
		return now, nil
	}
	rel := strings.TrimPrefix(s, "now")
	if strings.HasPrefix(rel, "-") {
		if d, err := oql.ParseDuration(rel[1:]); err == nil {
			return now.Add(-d), nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return unix(n)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f >= 0 && f < 1e11 {
		sec, frac := math.Modf(f)
		return time.Unix(int64(sec), int64(frac*1e9)).UTC(), nil
	}
	t, err := plan.ParseTime(s)
	if err != nil {
		return t, fmt.Errorf("%w: use RFC 3339, a Unix time, or a duration before now such as \"-1h\"", err)
	}
	return t, nil
}

// unix reads a Unix time in the unit that its size tells.
func unix(n int64) (time.Time, error) {
	switch {
	case n < 0:
		return time.Time{}, fmt.Errorf("time %d is before 1970", n)
	case n < 1e11:
		return time.Unix(n, 0).UTC(), nil
	case n < 1e14:
		return time.UnixMilli(n).UTC(), nil
	case n < 1e17:
		return time.UnixMicro(n).UTC(), nil
	default:
		return time.Unix(0, n).UTC(), nil
	}
}

// parse returns the plan of the query in either form.
func (q request) parse(vars oql.Vars) (*plan.Plan, error) {
	switch {
	case q.Plan == nil:
		return oql.ParseWith(q.Query, vars)
	case q.Query != "":
		return nil, invalid("send the query as text in query or as JSON in plan, not both")
	}
	return oql.ParseJSON(q.Plan, vars)
}

// bounds checks what the request says around the query text.
func (q request) bounds(p *plan.Plan, now time.Time, l Limits) (Bounds, error) {
	b := Bounds{Now: now.UTC(), Limit: q.Limit, Named: q.Format.encoding() != Rows}
	var err error
	if b.End, err = q.End.in(b.Now, b.Now); err != nil {
		return b, invalid("end: %v", err)
	}
	if b.Start, err = q.Start.in(b.Now, b.End.Add(-defaultRange)); err != nil {
		return b, invalid("start: %v", err)
	}
	switch {
	case q.Limit < 0 || q.Limit > l.MaxRows:
		return b, invalid("limit %d: want 1 to %d", q.Limit, l.MaxRows)
	case q.Limit == 0 && p.Limited:
		b.Limit = l.MaxRows
	case q.Limit == 0 && p.Aggregated:
		b.Limit = min(l.DefaultGroups, l.MaxRows)
	case q.Limit == 0:
		b.Limit = min(l.DefaultRows, l.MaxRows)
	}
	if err := b.validate(); err != nil {
		return b, invalid("%v", err)
	}
	if span := b.End.Sub(b.Start); span > l.MaxRange {
		return b, invalid("the time range is longer than %d days", int(l.MaxRange.Hours()/24))
	}
	return b, nil
}

// settled is how long ago a range must have ended for its answers to be kept unasked.
const settled = time.Minute

// maxAge returns how old an answer may be that is given again, -1 if the request does not say.
func (q request) maxAge() (time.Duration, error) {
	if q.MaxAge == "" {
		return -1, nil
	}
	d, err := oql.ParseDuration(q.MaxAge)
	if err != nil || d < 0 || d > maxAnswerAge {
		return 0, invalid("max_age %.40q: want a duration from 0s to %.0fs", q.MaxAge, maxAnswerAge.Seconds())
	}
	return d, nil
}

// accepted maps the media types of an Accept header to formats.
var accepted = map[string]Format{
	"application/json": FormatJSON, "*/*": FormatJSON, "application/*": FormatJSON,
	"application/x-ndjson": FormatNDJSON, "application/ndjson": FormatNDJSON, "application/jsonl": FormatNDJSON, "application/x-jsonlines": FormatNDJSON,
	"text/csv": FormatCSV, "text/*": FormatCSV,
	"application/vnd.apache.parquet":      FormatParquet,
	"application/vnd.apache.arrow.stream": FormatArrow,
}

// format is the request's own, else the first of its Accept headers that is known, else JSON.
func (q request) format(r *http.Request) (Format, error) {
	if q.Format != "" {
		if _, ok := mediaTypes[q.Format]; !ok {
			return "", invalid("format %.40q: want json, ndjson, csv, parquet or arrow", string(q.Format))
		}
		return q.Format, nil
	}
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			media, _, err := mime.ParseMediaType(part)
			if f, ok := accepted[media]; ok && err == nil {
				return f, nil
			}
		}
	}
	return FormatJSON, nil
}
