package prom

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query"
)

// errorType is what went wrong in the words of the Prometheus API, with its status.
type errorType struct {
	name   string
	status int
}

var (
	badRequest  = errorType{"bad_data", http.StatusBadRequest}
	execution   = errorType{"execution", http.StatusUnprocessableEntity}
	canceled    = errorType{"canceled", 499} // the client is gone: nobody reads it
	timedOut    = errorType{"timeout", http.StatusServiceUnavailable}
	unavailable = errorType{"unavailable", http.StatusServiceUnavailable}
	internal    = errorType{"internal", http.StatusInternalServerError}
	notFound    = errorType{"not_found", http.StatusNotFound}
	badMethod   = errorType{"bad_data", http.StatusMethodNotAllowed}
)

// apiError is an error whose text the caller may see.
type apiError struct {
	errorType
	err error
}

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func badData(format string, args ...any) error {
	return &apiError{badRequest, fmt.Errorf(format, args...)}
}

func badParam(name string, err error) error { return badData("invalid parameter %q: %w", name, err) }

// classify makes what the caller may know of err.
//
// SECURITY: the texts of PromQL's engine are about the query and the caller's own series. Those of ClickHouse were replaced
// by package query; any other error's text goes to the log alone.
func (h *Handler) classify(ctx context.Context, err error) *apiError {
	var known *apiError
	var read *httpapi.Error
	var series *seriesError
	var cancelErr promql.ErrQueryCanceled
	var timeoutErr promql.ErrQueryTimeout
	var samples promql.ErrTooManySamples
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, errBusy), errors.Is(err, errFull):
		return &apiError{unavailable, errBusy}
	case errors.As(err, &timeoutErr):
		return &apiError{timedOut, timeoutErr}
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return &apiError{timedOut, errTimeout}
	case errors.As(err, &cancelErr), errors.Is(err, context.Canceled):
		return &apiError{canceled, errors.New("the query was canceled")}
	case errors.As(err, &read):
		return &apiError{typeOf(read), errors.New(read.Detail)}
	case errors.As(err, &series):
		return &apiError{execution, series}
	case errors.As(err, &samples):
		return &apiError{execution, samples}
	case errors.Is(err, query.ErrTooComplex):
		return &apiError{execution, errors.New("the query has more matchers than one statement takes")}
	case errors.As(err, new(*engineError)) && !errors.As(err, new(*storageError)):
		return &apiError{execution, err}
	}
	h.opts.Log.Error("prometheus query failed", "err", err)
	return &apiError{internal, errors.New("the query failed; the log of headgate tells more")}
}

var errTimeout = errors.New("the query timed out")

// typeOf is the type of an error of reading.
func typeOf(e *httpapi.Error) errorType {
	switch e.Code {
	case query.CodeBusy, query.CodeUnavailable, query.CodeCancelled:
		return unavailable
	case query.CodeTimeout:
		return timedOut
	case query.CodeMemory, query.CodeTooMuchData, query.CodeRegex, query.CodeTooComplex:
		return execution
	case query.CodeFailed:
		return internal
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return errorType{e.Code, e.Status}
	case http.StatusNotFound: // a tenant that is named, and is not the caller's
		return notFound
	case http.StatusBadRequest:
		return badRequest
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return unavailable
	}
	return internal
}

// fail answers a request that failed.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := h.classify(r.Context(), err)
	var read *httpapi.Error
	if errors.As(err, &read) {
		for name, values := range read.Header {
			w.Header()[name] = values
		}
	}
	switch e.errorType {
	case unavailable:
		if w.Header().Get("Retry-After") == "" {
			w.Header().Set("Retry-After", "1")
		}
	case badMethod:
		w.Header().Set("Allow", "GET, POST")
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="headgate"`)
	}
	var b []byte
	b = append(b, `{"status":"error","errorType":`...)
	b = appendText(b, e.name)
	b = append(b, `,"error":`...)
	b = appendText(b, e.Error())
	b = append(b, "}\n"...)
	writeHeader(w, e.status)
	_, _ = w.Write(b)
}

func writeHeader(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
}

// answer is the data of a successful answer, with what is to be said about it.
type answer struct {
	data     func(*writer)
	warnings annotations.Annotations
	close    func() // after data was written; may be nil

	kept []byte        // all that is to be written, instead of data
	age  time.Duration // of kept
	land func([]byte)  // is to be called with what was written; may be nil
}

// maxNotes bounds the warnings and the notes of one answer.
const maxNotes = 10

// respond writes a successful answer. text is the query that warnings point into.
func respond(w http.ResponseWriter, a answer, text string) {
	if a.age > 0 {
		w.Header().Set("Age", strconv.Itoa(int(a.age.Seconds())))
	}
	writeHeader(w, http.StatusOK)
	if a.kept != nil {
		_, _ = w.Write(a.kept) // an error means that the client is gone
		return
	}
	var to io.Writer = w
	if a.land != nil {
		k := &keeper{w: w, land: a.land}
		defer k.end()
		to = k
	}
	out := &writer{w: bufio.NewWriterSize(to, 64<<10)}
	out.raw(`{"status":"success","data":`)
	a.data(out)
	warnings, infos := a.warnings.AsStrings(text, 0, 0)
	out.notes(`,"warnings":`, warnings)
	out.notes(`,"infos":`, infos)
	out.raw("}\n")
	out.flush()
}

func (w *writer) notes(name string, list []string) {
	if len(list) == 0 {
		return
	}
	slices.Sort(list) // they come from a map
	if more := len(list) - maxNotes; more > 0 {
		list = append(list[:maxNotes], strconv.Itoa(more)+" more omitted")
	}
	w.raw(name)
	w.texts(list)
}

// engineError is an error that PromQL's engine returned, its own or one of the storage.
type engineError struct{ error }

func (e *engineError) Unwrap() error { return e.error }

// storageError is an error of our storage.
type storageError struct{ error }

func (e *storageError) Unwrap() error { return e.error }
