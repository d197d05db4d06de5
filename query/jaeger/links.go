package jaeger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
)

// link is how often spans of one service were the parents of spans of another.
type link struct {
	Parent string `json:"parent"`
	Child  string `json:"child"`
	Calls  uint64 `json:"callCount"`
}

// links returns the calls between services, of or to service if it is not "".
func (h *handler) links(ctx context.Context, scope tenant.Scope, b query.Bounds, service string) ([]link, error) {
	st, err := query.Dependencies(scope, b)
	if err != nil {
		return nil, err
	}
	out := []link{}
	err = h.each(ctx, st, func(values [][]byte) error {
		var l link
		for i, into := range []any{&l.Parent, &l.Child, &l.Calls} {
			if err := json.Unmarshal(values[i], into); err != nil {
				return fmt.Errorf("column %d: %w", i+1, err)
			}
		}
		l.Parent, l.Child = serviceName(l.Parent), serviceName(l.Child)
		if service == "" || l.Parent == service || l.Child == service {
			out = append(out, l)
		}
		return nil
	})
	return out, tooManySpans(err)
}

// tooManySpans says what to do about a range with more spans than may be joined, in the words of this interface.
func tooManySpans(err error) error {
	var e *httpapi.Error
	if !errors.As(err, &e) || e.Code != query.CodeTooMuchData && e.Code != query.CodeMemory {
		return err
	}
	told := *e
	told.Detail = "the range has too many spans to count the calls between them: ask for less by lookback"
	return &told
}

func millis(q url.Values, param string, or time.Duration) (time.Duration, error) {
	s := q.Get(param)
	if s == "" {
		return or, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > int64(endTime.Sub(firstTime)/time.Millisecond) {
		return 0, unparsed(param, "%.40q is no whole number of milliseconds above 0", s)
	}
	return time.Duration(n) * time.Millisecond, nil
}
