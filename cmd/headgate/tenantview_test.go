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

// TestTheOverviewDrawsNothingButItsTable: what people did has texts of theirs in it, refused ones too.
func TestTheOverviewDrawsNothingButItsTable(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"tenant":{"name":"acme"},"activity":[{"actor":"user:\u001b[2J","action":"user.invite","target":"a\u001b]0;x\u0007\nb","outcome":"refused"}]}`))
	}))
	defer srv.Close()
	var out, errText bytes.Buffer
	err := run(t.Context(), []string{"tenant", "overview", "acme", "--api-url", srv.URL, "--token", "t"}, strings.NewReader(""), &out, &errText)
	if err != nil || !strings.Contains(out.String(), "user.invite") || strings.ContainsAny(out.String(), "\x1b\x07") {
		t.Errorf("printed %q, %v\n%s", &out, err, &errText)
	}
}
