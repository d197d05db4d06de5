// Package httpapi is what the JSON APIs share: handlers that return errors, and problem+json (RFC 9457) for those
// errors. Everything here is safe for concurrent use.
package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
)

// Error is a failure that the caller may see. Code is stable: scripts branch on it, so it is never renamed.
type Error struct {
	Status int            // HTTP status
	Code   string         // stable, lower-case, e.g. "tenant-not-found"
	Title  string         // short text for the code; http.StatusText(Status) when empty
	Detail string         // what happened here and what to do; free of other tenants' data
	Extra  map[string]any // further members of the problem document
	Header http.Header    // further response headers, e.g. Retry-After
}

func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// Errorf makes an Error whose detail is formatted.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Handle adapts a handler that returns an error. The handler must not have written anything when it returns one; an
// error that is not an *Error is answered 500 without its text, which goes to the log.
func Handle(log *slog.Logger, h func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				log.Error("handler panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				WriteError(w, internal())
			}
		}()
		// Answers are somebody's own: no cache keeps them, unless the handler says otherwise.
		w.Header().Set("Cache-Control", "no-store")
		err := h(w, r)
		if err == nil {
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
			e = internal()
		}
		WriteError(w, e)
	})
}

func internal() *Error {
	return Errorf(http.StatusInternalServerError, "internal", "an internal error happened; the log of headgate tells more")
}

// WriteError writes e as problem+json. An answer to a credential problem (401) names the scheme, as RFC 9110 §11.6.1 asks.
func WriteError(w http.ResponseWriter, e *Error) {
	doc := map[string]any{}
	maps.Copy(doc, e.Extra)
	title := e.Title
	if title == "" {
		title = http.StatusText(e.Status)
	}
	doc["type"], doc["status"], doc["code"], doc["title"], doc["detail"] = "about:blank", e.Status, e.Code, title, e.Detail
	maps.Copy(w.Header(), e.Header)
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="headgate"`)
	}
	writeJSON(w, e.Status, "application/problem+json", doc)
}

// WriteJSON writes v with the given status.
func WriteJSON(w http.ResponseWriter, status int, v any) { writeJSON(w, status, "application/json", v) }

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	writeBody(w, status, contentType, JSON(v))
}

// WriteBody writes JSON that JSON has made.
func WriteBody(w http.ResponseWriter, status int, body []byte) {
	writeBody(w, status, "application/json", body)
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: nothing is left to say to it
}

// JSON returns v as it is answered, with a line's end.
func JSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("BUG: answer: " + err.Error())
	}
	return b.Bytes()
}

// MaxBodyBytes bounds the JSON bodies of the APIs.
const MaxBodyBytes = 1 << 20

// ReadJSON decodes one JSON value of at most MaxBodyBytes into v. Unknown members are refused, so that a misspelt
// setting is not silently without effect.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err != nil {
		return BodyError(err)
	}
	// More would say that nothing follows where a closing bracket does.
	if _, err = dec.Token(); errors.Is(err, io.EOF) {
		return nil
	}
	return BodyError(errors.New("more than one JSON value"))
}

// BodyError makes the answer of an error of reading a JSON body.
func BodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return Errorf(http.StatusRequestEntityTooLarge, "body-too-large", "the body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, io.EOF):
		return Errorf(http.StatusBadRequest, "body-missing", "a JSON body is needed")
	default:
		return Errorf(http.StatusBadRequest, "body-invalid", "the body is not the JSON expected: %v", err)
	}
}
