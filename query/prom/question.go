package prom

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query"
)

// Question is the body of a request that Questions answers: a query of PromQL with variables, as it is kept.
type Question struct {
	Query     string                    `json:"query"`
	Variables map[string]query.Variable `json:"variables"`
	query.Range
	Instant bool   `json:"instant"` // the value at End, not those from Start to End
	Step    string `json:"step"`    // of the values of a range, 15s or more as the range is when left out
	Limit   int    `json:"limit"`   // series, all of them when left out
	Format  string `json:"format"`  // json or left out
	MaxAge  string `json:"max_age"` // of an answer that may be given again, up to 60s
}

// Check returns what is wrong with a query under these variables, and with the step of its values, as *httpapi.Error. A variable without a
// value stands for every value of its type.
func Check(text, step string, vars map[string]query.Variable) error {
	values, err := query.ReadVariables(vars)
	if err != nil {
		return err
	}
	if step != "" {
		if d, err := parseDuration(step); err != nil || d < time.Millisecond {
			return httpapi.Errorf(http.StatusBadRequest, query.CodeInvalid, "step %.40q: want a duration such as 30s", step)
		}
	}
	t, err := newTemplate(text, values)
	if err == nil {
		_, err = t.bind(newParser())
	}
	return query.Misread(err)
}

// Questions serves a POST of a Question for a caller who has been authenticated, as the paths query_range and query are served: with
// their engine, bounds, places and form of answers.
func (h *Handler) Questions(caller query.Caller) http.Handler {
	return h.handle(func(w http.ResponseWriter, r *http.Request) (answer, *request, error) {
		var q Question
		if err := httpapi.ReadJSON(w, r, &q); err != nil {
			return answer{}, nil, asBadData(err)
		}
		req, err := h.asked(r, q)
		if err != nil {
			return answer{}, nil, asBadData(err)
		}
		serve := kept("end", (*request).queryRange)
		if q.Instant {
			serve = kept("time", (*request).query)
		}
		return h.run(w, req, caller, serve)
	})
}

// asked makes the request that a question stands for.
func (h *Handler) asked(r *http.Request, q Question) (*request, error) {
	if q.Format != "" && q.Format != "json" {
		return nil, badData("format %.20q: answers to PromQL are json", q.Format)
	}
	if len(q.Query) > maxQueryBytes {
		return nil, badData("the query is longer than %d bytes", maxQueryBytes)
	}
	now := h.opts.Now()
	if age, err := parseDuration(q.MaxAge); err == nil && age > 0 && age <= mostAge {
		now = now.Truncate(age) // what is asked within this time asks for the same range
	}
	start, end, err := q.In(now)
	if err != nil {
		return nil, err
	}
	values, err := query.ReadVariables(q.Variables)
	if err != nil {
		return nil, err
	}
	for name, v := range values {
		if v.IsSample() {
			return nil, badData("variable %.80q: needs a value", name)
		}
	}
	t, err := newTemplate(q.Query, values)
	if err != nil {
		return nil, query.Misread(err)
	}
	expr, err := t.bind(h.parser)
	if err != nil {
		return nil, query.Misread(err)
	}
	step := q.Step
	if step == "" {
		step = model.Duration(stepOf(end.Sub(start))).String()
	}
	form := url.Values{"query": {t.text}, "limit": {strconv.Itoa(q.Limit)}, "step": {step}, "max_age": {q.MaxAge}}
	for name, at := range map[string]time.Time{"start": start, "end": end, "time": end} {
		form.Set(name, at.Format(time.RFC3339Nano))
	}
	again := r.Clone(r.Context())
	again.Form = form
	asked, err := json.Marshal([]any{q.Query, q.Variables})
	if err != nil {
		return nil, badData("variables: %v", err)
	}
	p := bound{h.parser, expr}
	return &request{Request: again, engine: h.newEngine(p), parser: p, bound: true, asked: string(asked), relative: !q.Absolute()}, nil
}

// The values that a range has where a question names no step.
const (
	leastStep = 15 * time.Second
	mostSteps = 250
)

// stepOf returns a step for a range: a round one, and few enough values.
func stepOf(span time.Duration) time.Duration {
	for _, step := range []time.Duration{
		leastStep, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if span <= mostSteps*step {
			return step
		}
	}
	const day = 24 * time.Hour
	return (span/mostSteps + day).Truncate(day)
}

// asBadData makes errors of reading a question those of the Prometheus API, a syntax error with its place in the text.
func asBadData(err error) error {
	e, ok := err.(*httpapi.Error) //nolint:errorlint // what is wrapped is an *apiError
	if !ok {
		return err
	}
	if at, ok := e.Extra["caret"].(string); ok {
		return badData("invalid parameter \"query\": %s\n%s", e.Detail, at)
	}
	return badData("%s", e.Detail)
}
