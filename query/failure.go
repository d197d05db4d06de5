package query

import (
	"context"
	"errors"
	"net/http"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/httpapi"
)

// The stable codes of failed queries. They are never renamed.
const (
	CodeSyntax      = "query-syntax"      // the text is wrong; line, column and caret are in the document
	CodeInvalid     = "query-invalid"     // the request around the text is wrong
	CodeCursor      = "query-cursor"      // the cursor is of another query, altered, expired, or someone else's
	CodeTooComplex  = "query-too-complex" // refused before it ran
	CodeBusy        = "query-busy"        // too many at once: try again
	CodeTimeout     = "query-timeout"
	CodeMemory      = "query-memory"
	CodeTooMuchData = "query-too-much-data" // it would read too many rows or bytes
	CodeRegex       = "query-regex"
	CodeCancelled   = "query-cancelled"
	CodeUnavailable = "query-unavailable" // ClickHouse does not answer: try again
	CodeFailed      = "query-failed"
	CodeRefused     = "query-refused" // the walls between tenants do not hold: the operator must act
)

var errRowTooLarge = errors.New("a row is too large")

// engineFailures maps ClickHouse's exception codes to what a caller may know.
//
// SECURITY: no text of the engine is passed on: it can hold SQL, settings, paths and, in theory, values.
var engineFailures = map[int32]httpapi.Error{
	158: tooMuchData, // TOO_MANY_ROWS
	307: tooMuchData, // TOO_MANY_BYTES
	396: tooMuchData, // TOO_MANY_ROWS_OR_BYTES
	191: {Status: http.StatusUnprocessableEntity, Code: CodeTooMuchData, Title: "query joins too much",
		Detail: "the query in the parentheses of a join has too many rows: filter it more, or summarize it"},
	159: timeout, // TIMEOUT_EXCEEDED
	160: timeout, // TOO_SLOW
	241: {Status: http.StatusUnprocessableEntity, Code: CodeMemory, Title: "query needs too much memory",
		Detail: "the query needs more memory than it may use: narrow the time range, filter more, or group by fewer values"},
	202: busy, // TOO_MANY_SIMULTANEOUS_QUERIES
	427: {Status: http.StatusBadRequest, Code: CodeRegex, Title: "regular expression refused",
		Detail: "a regular expression of the query is too large"},
	394: cancelled, // QUERY_WAS_CANCELLED
	734: cancelled, // QUERY_WAS_CANCELLED_BY_CLIENT
}

// Refused and NotReady are what ReaderOptions.Refuse may answer: that the walls between tenants do not hold, and that nobody
// knows yet.
var (
	Refused = &httpapi.Error{Status: http.StatusServiceUnavailable, Code: CodeRefused, Title: "queries are refused",
		Detail: "the walls between tenants inside ClickHouse do not hold, so that nothing is read until an operator has put them right; headgate doctor tells what is wrong",
		Header: http.Header{"Retry-After": {"30"}}}
	NotReady = &unavailable
)

var (
	tooMuchData = httpapi.Error{Status: http.StatusUnprocessableEntity, Code: CodeTooMuchData, Title: "query reads too much",
		Detail: "the query would read more data than it may: narrow the time range or filter by service"}
	timeout = httpapi.Error{Status: http.StatusGatewayTimeout, Code: CodeTimeout, Title: "query took too long",
		Detail: "the query took longer than it may: narrow the time range or filter more"}
	busy = httpapi.Error{Status: http.StatusTooManyRequests, Code: CodeBusy, Title: "too many queries",
		Detail: "too many queries run at once: try again", Header: http.Header{"Retry-After": {"1"}}}
	cancelled = httpapi.Error{Status: http.StatusServiceUnavailable, Code: CodeCancelled, Title: "query was cancelled",
		Detail: "the query was cancelled", Header: http.Header{"Retry-After": {"1"}}}
	unavailable = httpapi.Error{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Title: "store does not answer",
		Detail: "ClickHouse does not answer: try again", Header: http.Header{"Retry-After": {"5"}}}
	failed = httpapi.Error{Status: http.StatusInternalServerError, Code: CodeFailed, Title: "query failed",
		Detail: "the query failed; the log of headgate tells more under the request id"}
)

// failure makes of err what the caller may know, as an *httpapi.Error, and logs err itself under the request's id.
func (r *Reader) failure(id string, err error) error {
	e := classify(err)
	e.Extra = map[string]any{"request_id": id}
	r.metrics.failures.WithLabelValues(e.Code).Inc()
	if e.Code == CodeCancelled || e.Code == CodeBusy {
		r.log.Debug("query ended early", "request_id", id, "err", err)
	} else {
		r.log.Warn("query failed", "request_id", id, "code", e.Code, "err", err)
	}
	return e
}

func classify(err error) *httpapi.Error {
	var ex *clickhouse.Exception
	var e httpapi.Error
	var refused *httpapi.Error
	switch {
	case errors.As(err, &refused):
		e = *refused
	case errors.Is(err, errBusy):
		e = busy
	case errors.Is(err, errTimeout):
		e = timeout
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = cancelled
	case errors.Is(err, errRowTooLarge), errors.Is(err, errMoment):
		e = tooMuchData
	case errors.As(err, &ex):
		known, ok := engineFailures[ex.Code]
		if e = known; !ok {
			e = failed
		}
	case isBug(err):
		e = failed
	default: // a broken connection, or an answer that is none
		e = unavailable
	}
	return &e
}

func isBug(err error) bool { return len(err.Error()) > 4 && err.Error()[:4] == "BUG:" }

// syntax is the failure of a text that does not parse.
func syntax(detail string, line, column int, caret string) *httpapi.Error {
	return &httpapi.Error{
		Status: http.StatusBadRequest, Code: CodeSyntax, Title: "query not understood", Detail: detail,
		Extra: map[string]any{"line": line, "column": column, "caret": caret},
	}
}

func invalid(format string, args ...any) *httpapi.Error {
	return httpapi.Errorf(http.StatusBadRequest, CodeInvalid, format, args...)
}
