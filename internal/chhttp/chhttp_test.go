package chhttp

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestDecompressIsAskedForBodiesThatAreNoStatement(t *testing.T) {
	var query string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { query = r.URL.RawQuery }))
	defer srv.Close()
	rt, err := Transport(&http.Transport{})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: rt}
	defer client.CloseIdleConnections()
	for sent, want := range map[string]string{
		"decompress=1&query=INSERT": "decompress=1&query=INSERT",
		"decompress=1&database=d":   "database=d",
		"database=d":                "database=d",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"?"+sent, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if query != want || r.URL.RawQuery != sent {
			t.Errorf("%s arrived as %s, want %s; the request became %s", sent, query, want, r.URL.RawQuery)
		}
	}
}
