package control

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/asktest"
)

// A part serves its routes with what they need alone, and says of each other one whose it is, before it looks at who asks. Both describe
// the whole API.
func TestAPartServesItsRoutesAlone(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	whole, _ := s.request(s.operator, "GET", "/api/openapi.json", "", nil)
	for part, api := range map[Part]*API{
		PartQuery: {Part: PartQuery, Directory: s.api.Directory, Saved: s.api.Saved, Queries: s.api.Queries, Now: s.clock.Now, Log: s.api.Log, Version: "test"},
		PartControl: {Part: PartControl, Directory: s.api.Directory, Limits: s.api.Limits, Ledger: s.api.Ledger, Alerts: s.api.Alerts, Signer: s.api.Signer,
			Deleter: s.api.Deleter, Exporter: s.api.Exporter, Verifier: s.api.Verifier, Kept: s.api.Kept, Now: s.clock.Now, Log: s.api.Log, Version: "test"},
	} {
		mux := http.NewServeMux()
		api.Register(mux)
		srv := httptest.NewServer(mux)
		defer srv.Close()
		resp, text := asktest.Do(t, "GET", srv.URL+"/api/openapi.json", "", nil)
		if resp.StatusCode != 200 || resp.ContentLength != whole.ContentLength {
			t.Errorf("%s: the document has %d bytes, that of all %d", part, resp.ContentLength, whole.ContentLength)
		}
		var doc struct {
			Paths map[string]map[string]struct {
				Role Part `json:"x-headgate-role"`
			}
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		served := 0
		for _, rt := range api.table() {
			of := doc.Paths[rt.path][strings.ToLower(rt.method)].Role
			path := pathParameter.ReplaceAllString(rt.path, "x")
			for _, method := range []string{rt.method, "PUT"} { // no route has this
				for _, credential := range []string{"", s.operator} {
					resp, text := asktest.Do(t, method, srv.URL+path, "", asktest.Bearer(credential))
					var problem struct {
						Code string
						Role Part
					}
					_ = json.Unmarshal([]byte(text), &problem)
					elsewhere := resp.StatusCode == http.StatusMisdirectedRequest && problem.Code == CodeElsewhere && problem.Role == of
					if elsewhere == (of == part) || !elsewhere && resp.StatusCode == http.StatusMisdirectedRequest || resp.StatusCode >= 500 {
						t.Errorf("%s: %s %s of %s as %.4q: %d %s", part, method, path, of, credential, resp.StatusCode, text)
					}
				}
			}
			if of == part {
				served++
			}
		}
		if served < 10 {
			t.Errorf("%s serves %d routes", part, served)
		}
	}
}
