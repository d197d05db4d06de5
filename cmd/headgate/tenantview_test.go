package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestADomainIsAddedBeforeAnotherIsRemoved: a tenant that lists none for a moment invites people of any.
func TestADomainIsAddedBeforeAnotherIsRemoved(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method)
		_, _ = w.Write([]byte(`{"domains":[]}`))
	}))
	defer srv.Close()
	for range 20 {
		asked = nil
		var out, errText bytes.Buffer
		err := run(t.Context(), []string{"tenant", "domains", "acme", "--remove", "old.example", "--add", "new.example", "--api-url", srv.URL, "--token", "t"},
			strings.NewReader(""), &out, &errText)
		if want := []string{"PUT", "DELETE", "GET"}; err != nil || !slices.Equal(asked, want) {
			t.Fatalf("asked for %v, want %v: %v\n%s", asked, want, err, &errText)
		}
	}
}
