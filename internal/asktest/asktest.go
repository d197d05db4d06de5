// Package asktest asks HTTP servers in tests.
package asktest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Patience is how long an answer may take, so that no test hangs: much, for a test may have a busy machine's last share.
const Patience = 5 * time.Minute

// Do sends a request and returns the answer, whose body has been read, and the body. Redirects are answers too. It fails the
// test if there is no whole answer.
func Do(t testing.TB, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	client := &http.Client{Timeout: Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: the answer breaks off: %v", method, url, err)
	}
	return resp, string(raw)
}

// Bearer is the header of a credential, "" for none.
func Bearer(credential string) http.Header {
	h := http.Header{}
	if credential != "" {
		h.Set("Authorization", "Bearer "+credential)
	}
	return h
}
