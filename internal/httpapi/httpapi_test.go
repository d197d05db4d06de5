package httpapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T, body string, h func(w http.ResponseWriter, r *http.Request) error) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	Handle(slog.New(slog.DiscardHandler), h).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/x", strings.NewReader(body)))
	doc := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	return w, doc
}

func TestErrorIsAProblemDocument(t *testing.T) {
	w, doc := serve(t, "", func(http.ResponseWriter, *http.Request) error {
		return &Error{Status: 429, Code: "limit", Detail: "wait", Extra: map[string]any{"limit": 5}, Header: http.Header{"Retry-After": {"3"}}}
	})
	if w.Code != 429 || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Retry-After") != "3" {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	if doc["code"] != "limit" || doc["detail"] != "wait" || doc["limit"] != 5.0 || doc["status"] != 429.0 || doc["title"] != "Too Many Requests" {
		t.Fatalf("got %v", doc)
	}
}

func TestUnknownErrorAndPanicTellNothing(t *testing.T) {
	for _, h := range []func(http.ResponseWriter, *http.Request) error{
		func(http.ResponseWriter, *http.Request) error { return errors.New("password is hunter2") },
		func(http.ResponseWriter, *http.Request) error { panic("password is hunter2") },
	} {
		w, doc := serve(t, "", h)
		if w.Code != 500 || doc["code"] != "internal" || strings.Contains(w.Body.String(), "hunter2") {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	}
}

func TestUnauthorizedNamesTheScheme(t *testing.T) {
	w, _ := serve(t, "", func(http.ResponseWriter, *http.Request) error { return Errorf(401, "no-credential", "send a key") })
	if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="headgate"` {
		t.Fatalf("WWW-Authenticate = %q", got)
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for body, code := range map[string]string{
		``:               "body-missing",
		`{"name":`:       "body-invalid",
		`{"nam":"x"}`:    "body-invalid",
		`{"name":"x"}{}`: "body-invalid",
		`{"name":"x"}]`:  "body-invalid",
		`{"name":"x"}}`:  "body-invalid",
		`{"name":1}`:     "body-invalid",
		`{"name":"` + strings.Repeat("a", MaxBodyBytes) + `"}`: "body-too-large",
	} {
		_, doc := serve(t, body, func(w http.ResponseWriter, r *http.Request) error {
			var v struct{ Name string }
			if err := ReadJSON(w, r, &v); err != nil {
				return err
			}
			return errors.New("accepted")
		})
		if doc["code"] != code {
			t.Errorf("body %.20q: code %v, want %s", body, doc["code"], code)
		}
	}
}
