package jaeger

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query"
)

const bufferBytes = 64 << 10

// errNotFound and errNoTraces are Jaeger's own words for a trace that is not there. Another tenant's is not there.
var (
	errNotFound = httpapi.Errorf(http.StatusNotFound, "trace-not-found", "trace not found")
	errNoTraces = httpapi.Errorf(http.StatusNotFound, "trace-not-found", "No traces found")
)

func invalid(format string, args ...any) *httpapi.Error {
	return httpapi.Errorf(http.StatusBadRequest, query.CodeInvalid, format, args...)
}

// message is what a caller is told of err.
func message(err error) string {
	var e *httpapi.Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return "an internal error happened; the log of headgate tells more"
}

// failWith adapts a handler whose errors fail writes.
func failWith(l *slog.Logger, h func(http.ResponseWriter, *http.Request) error, fail func(http.ResponseWriter, *httpapi.Error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				l.Error("handler panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				fail(w, internal())
			}
		}()
		w.Header().Set("Cache-Control", "no-store")
		err := h(w, r)
		if err == nil {
			return
		}
		var e *httpapi.Error
		if !errors.As(err, &e) {
			l.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			e = internal()
		}
		if id, ok := e.Extra["request_id"].(string); ok {
			w.Header().Set("X-Request-Id", id)
		}
		maps.Copy(w.Header(), e.Header)
		if e.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="headgate"`)
		}
		fail(w, e)
	})
}

func internal() *httpapi.Error {
	return httpapi.Errorf(http.StatusInternalServerError, "internal", "an internal error happened; the log of headgate tells more")
}

// writeError writes e as the API of version 2 does.
func writeError(w http.ResponseWriter, e *httpapi.Error) {
	httpapi.WriteJSON(w, e.Status, envelope{Errors: []structuredError{{Code: e.Status, Msg: e.Detail}}})
}

// writeError3 writes e as the gateway of version 3 does.
func writeError3(w http.ResponseWriter, e *httpapi.Error) {
	httpapi.WriteJSON(w, e.Status, map[string]any{"error": map[string]any{"httpCode": e.Status, "message": e.Detail}})
}

func respond(w http.ResponseWriter, v any) error {
	httpapi.WriteJSON(w, http.StatusOK, v)
	return nil
}

// begin writes the head of an answer that streams.
func begin(w http.ResponseWriter, recs *records) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", recs.res.ID())
	h.Set("Trailer", query.TruncatedTrailer)
}
