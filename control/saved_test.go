package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// plainLanguages takes every text but those with "bad" in them, and values that are texts; the real ones are package query's, with
// which cmd/headgate tests.
var plainLanguages = saved.Languages{
	Check: func(s saved.Source, _ []saved.Value) error {
		if strings.Contains(s.Query, "bad") {
			return &httpapi.Error{Status: 400, Code: "query-syntax", Detail: "bad text", Extra: map[string]any{"line": 1, "column": 3, "caret": "^"}}
		}
		return nil
	},
	CheckValue: func(typ string, value json.RawMessage) error {
		if typ != "string" || value != nil && value[0] != '"' {
			return errors.New("a text is wanted")
		}
		return nil
	},
	CheckRange: func(string, string) error { return nil },
}

// echo answers with what it was asked to run, where.
func echo(scope tenant.Scope, key, _ string) http.Handler {
	return httpapi.Handle(nil, func(w http.ResponseWriter, r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			httpapi.WriteJSON(w, http.StatusOK, map[string]any{"tenants": scope.Strings(), "key": key, "body": json.RawMessage(body)})
		}
		return err
	})
}

type echoed struct {
	Tenants []string
	Key     string
	Body    struct {
		Query     string
		Variables map[string]struct{ Type, Value string }
		Start     any
		End       any
		Format    string
		Limit     int
	}
}

// A run asks what was saved, with the caller's values, in the tenants that the caller may read.
func TestRunAsksWhatWasSavedWithTheCallersReach(t *testing.T) {
	m := newMatrix(t)
	const query = `{"name":"q","sharing":"tenant","query":"logs | where service == $s","start":"-2h",
		"variables":[{"name":"s","type":"string","values":["a","b"],"default":"a"},{"name":"t","type":"string"}]}`
	q := ok[SavedQuery](m.server, 201, m.token["editor"], "POST", "/api/v1/saved-queries", query)
	run := "/api/v1/saved-queries/" + q.ID + "/run"
	got := ok[echoed](m.server, 200, m.token["viewer"], "POST", run, `{"variables":{"t":"x"},"format":"ndjson","limit":5}`)
	if b := got.Body; b.Query != "logs | where service == $s" || b.Variables["s"].Value != "a" || b.Variables["t"].Value != "x" || b.Start != "-2h" || b.End != nil ||
		b.Format != "ndjson" || b.Limit != 5 || len(got.Tenants) != 1 || got.Tenants[0] != q.TenantID || got.Key != "" {
		t.Errorf("a viewer runs %+v", got)
	}
	got = ok[echoed](m.server, 200, m.token["key:query"], "POST", run, `{"variables":{"s":"b","t":"x"},"start":1700000000}`)
	if b := got.Body; b.Variables["s"].Value != "b" || b.Start != 1.7e9 || got.Key == "" {
		t.Errorf("a key runs %+v", got)
	}
	for body, want := range map[string]string{
		`{}`:                              "variable t: needs a value",
		`{"variables":{"t":5}}`:           "variable t: a text is wanted",
		`{"variables":{"t":"x","s":"c"}}`: "variable s: the value is not one of those that may be chosen",
		`{"variables":{"t":"x","u":"c"}}`: `variable "u": there is none of that name`,
		`{"variables":{"t":null}}`:        "variable t: needs a value",
	} {
		if status, text := m.ask(m.token["viewer"], "POST", run, body); status != 400 || code(text) != "invalid-argument" || !strings.Contains(text, strings.ReplaceAll(want, `"`, `\"`)) {
			t.Errorf("%s: %d %s, want %s", body, status, text, want)
		}
	}

	// A root admin reads what is below, too, of which tenants narrows; names outside are as if there were none.
	ids := map[string]string{}
	for _, at := range ok[QueryScope](m.server, 200, m.token["root-admin"], "GET", "/api/v1/query/scope", "").Tenants {
		ids[at.Name] = at.ID
	}
	got = ok[echoed](m.server, 200, m.token["root-admin"], "POST", run, `{"variables":{"t":"x"}}`)
	if len(got.Tenants) != 6 {
		t.Errorf("a root admin reads %v", got.Tenants)
	}
	got = ok[echoed](m.server, 200, m.token["root-admin"], "POST", run, `{"variables":{"t":"x"},"tenants":["org-child"]}`)
	if !slices.Equal(got.Tenants, []string{ids["org-child"]}) {
		t.Errorf("narrowed to %v", got.Tenants)
	}

	// A thing of a tenant below reads from there down, and that is recorded there.
	m.makeAs(m.savers["child"], "PATCH", "/api/v1/saved-queries/"+m.thing("query", "child"), `{"name":"below"}`)
	got = ok[echoed](m.server, 200, m.token["root-admin"], "POST", "/api/v1/saved-queries/"+m.thing("query", "child")+"/run", `{}`)
	want := []string{ids["org-child"], ids["org-grandchild"], ids["leaf-child"], ids["leaf-grandchild"]}
	slices.Sort(want)
	if !slices.Equal(got.Tenants, want) {
		t.Errorf("a query of a child reads %v, want %v", got.Tenants, want)
	}
	for _, at := range []string{"org-child", "leaf-grandchild", "org-own"} {
		if entries := ok[AuditPage](m.server, 200, m.operator, "GET", "/api/v1/audit?action=query.run&tenant="+at, "").Entries; len(entries) == 0 {
			t.Errorf("the audit of %s does not tell of it", at)
		}
	}
	for _, who := range []string{"viewer", "root-admin", "key:query"} {
		for _, name := range []string{"org-sibling", "org-parent", "org-foreign", "no-such"} {
			m.refused(404, "not-found", m.token[who], "POST", run, `{"variables":{"t":"x"},"tenants":["`+name+`"]}`)
		}
	}
}

// Who sees what is private, shared with a team or with the tenant.
func TestSharingSaysWhoSees(t *testing.T) { storetest.Each(t, testSharingSaysWhoSees) }

func testSharingSaysWhoSees(t *testing.T) {
	m := newMatrix(t)
	team := m.make("POST", "/api/v1/teams", `{"tenant":"org-own","name":"first"}`)
	theirs := m.make("POST", "/api/v1/teams", `{"tenant":"org-sibling","name":"first"}`)
	in, out := m.user("org-own", "in@example.com", "viewer"), m.user("org-own", "out@example.com", "viewer")
	owner := m.user("org-own", "owner@example.com", "editor")
	m.make("PUT", "/api/v1/teams/"+team+"/members/"+in.User.ID, "")
	m.token["in"], m.token["out"], m.token["owner"] = in.Token, out.Token, owner.Token
	made := ok[Dashboard](m.server, 201, owner.Token, "POST", "/api/v1/dashboards", `{"name":"b","panels":[{"query":"logs"}]}`)
	if made.Sharing != "private" || made.OwnerUser != owner.User.ID || made.Panels[0].ID != "panel-1" || made.Panels[0].Display != "table" || made.Panels[0].Language != "oql" {
		t.Fatalf("made %+v", made)
	}
	path := "/api/v1/dashboards/" + made.ID
	sees := func(what string, want ...string) {
		t.Helper()
		for _, who := range []string{"owner", "in", "out", "editor", "admin", "root-admin", "key:query"} {
			status, _ := m.ask(m.token[who], "GET", path, "")
			ran, _ := m.ask(m.token[who], "POST", path+"/panels/panel-1/run", "{}")
			_, list := m.ask(m.token[who], "GET", "/api/v1/dashboards?search=B", "")
			if seen := slices.Contains(want, who); (status == 200) != seen || (ran == 200) != seen || strings.Contains(list, made.ID) != seen || !seen && status != 404 && status != 401 {
				t.Errorf("%s: %s is answered %d, a run %d, the list %s", what, who, status, ran, list)
			}
		}
	}
	sees("private", "owner")
	ok[Dashboard](m.server, 200, owner.Token, "PATCH", path, `{"sharing":"team","team":"first"}`)
	sees("with a team", "owner", "in", "admin", "root-admin")
	m.make("DELETE", "/api/v1/teams/"+team+"/members/"+in.User.ID, "")
	sees("after leaving it", "owner", "admin", "root-admin")
	m.make("PUT", "/api/v1/teams/"+team+"/members/"+in.User.ID, "")
	for body, want := range map[string]string{
		`{"sharing":"team","team":"` + theirs + `"}`: "404 not-found",
		`{"sharing":"team","team":"no-such"}`:        "404 not-found",
		`{"sharing":"private","team":"first"}`:       "400 invalid-argument",
		`{"sharing":"world"}`:                        "400 invalid-argument",
		`{"owner_user":"` + missingID + `"}`:         "404 not-found",
	} {
		status, text := m.ask(owner.Token, "PATCH", path, body)
		if got := fmt.Sprintf("%d %s", status, code(text)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	m.make("DELETE", "/api/v1/teams/"+team, "")
	sees("after the team's end", "owner", "admin", "root-admin")
	ok[Dashboard](m.server, 200, owner.Token, "PATCH", path, `{"sharing":"tenant"}`)
	sees("with the tenant", "owner", "in", "out", "editor", "admin", "root-admin", "key:query")

	// Viewers and other editors change nothing; editors clone and have their own.
	m.refused(403, "forbidden", m.token["in"], "PATCH", path, `{"name":"x"}`)
	m.refused(403, "forbidden", m.token["in"], "POST", path+"/clone", `{}`)
	m.refused(403, "forbidden", m.token["editor"], "PATCH", path, `{"name":"x"}`)
	m.refused(403, "forbidden", m.token["editor"], "DELETE", path, "")
	mine := ok[Dashboard](m.server, 201, m.token["editor"], "POST", path+"/clone", `{"name":"mine"}`)
	if mine.Name != "mine" || mine.Sharing != "private" || mine.OwnerUser == made.OwnerUser || mine.ID == made.ID || mine.Panels[0].Query != "logs" {
		t.Errorf("the copy is %+v", mine)
	}
	ok[Dashboard](m.server, 200, m.token["editor"], "PATCH", "/api/v1/dashboards/"+mine.ID, `{"panels":[{"id":"a","query":"spans"}]}`)
	if original := ok[Dashboard](m.server, 200, owner.Token, "GET", path, ""); original.Panels[0].Query != "logs" {
		t.Errorf("the original changed with its copy: %+v", original)
	}

	// What an inactive user leaves stays, for who manages users to hand on.
	ok[Dashboard](m.server, 200, owner.Token, "PATCH", path, `{"sharing":"private"}`)
	m.make("POST", "/api/v1/users/"+owner.User.ID+"/deactivate", "")
	sees("of an inactive owner", "admin", "root-admin")
	ok[Dashboard](m.server, 200, m.token["admin"], "PATCH", path, `{"owner_user":"`+out.User.ID+`"}`)
	sees("handed on", "out")
}

// What does not parse is not kept, and the answer says where: of a dashboard, in which panel.
func TestDefinitionsAreCheckedWhenTheyAreSaved(t *testing.T) {
	m := newMatrix(t)
	ann := m.token["editor"]
	_, text := m.ask(ann, "POST", "/api/v1/saved-queries", `{"name":"q","query":"a bad text"}`)
	if code(text) != "query-syntax" || !strings.Contains(text, `"caret":"^"`) {
		t.Errorf("a bad query: %s", text)
	}
	_, text = m.ask(ann, "POST", "/api/v1/dashboards", `{"name":"q","panels":[{"query":"logs"},{"id":"second","query":"bad"}]}`)
	if code(text) != "query-syntax" || !strings.Contains(text, `"panel":"second"`) || !strings.Contains(text, `"column":3`) || !strings.Contains(text, "panel second: bad text") {
		t.Errorf("a bad panel: %s", text)
	}
	long := strings.Repeat("x", 101)
	panels := strings.TrimSuffix(strings.Repeat(`{"query":"logs"},`, 51), ",")
	variables := strings.TrimSuffix(strings.Repeat(`{"name":"a","type":"string"},`, 21), ",")
	for path, bodies := range map[string][]string{
		"/api/v1/saved-queries": {
			`{"query":"logs"}`, `{"name":"","query":"logs"}`, `{"name":" q","query":"logs"}`, `{"name":"a\u0000","query":"logs"}`, `{"name":"` + long + `","query":"logs"}`,
			`{"name":"q"}`, `{"name":"q","query":"logs","plan":{}}`, `{"name":"q","language":"sql","query":"SELECT 1"}`, `{"name":"q","language":"promql","plan":{}}`,
			`{"name":"q","query":"logs","description":"` + strings.Repeat("x", 2001) + `"}`, `{"name":"q","query":"` + strings.Repeat("x", 16<<10+1) + `"}`,
			`{"name":"q","query":"logs","variables":[{"name":"a","type":"int"}]}`, `{"name":"q","query":"logs","variables":[{"name":"a-b","type":"string"}]}`,
			`{"name":"q","query":"logs","variables":[{"name":"a","type":"string","default":5}]}`, `{"name":"q","query":"logs","variables":[{"name":"a","type":"string","values":["x"],"default":"y"}]}`,
			`{"name":"q","query":"logs","variables":[` + variables + `]}`, `{"name":"q","query":"logs","variables":[{"name":"a","type":"string"},{"name":"a","type":"string"}]}`,
			`{"name":"q","query":"logs","start":"` + strings.Repeat("1", 41) + `"}`, `{"name":"q","query":"logs","sharing":"team"}`, `{"name":"q","query":"logs","sharing":"all"}`,
		},
		"/api/v1/dashboards": {
			`{"name":"d","panels":[` + panels + `]}`, `{"name":"d","panels":[{"id":"a","query":"logs"},{"id":"a","query":"logs"}]}`, `{"name":"d","panels":[{"id":"a b","query":"logs"}]}`,
			`{"name":"d","panels":[{"query":"logs","display":"pie"}]}`, `{"name":"d","panels":[{"query":"logs","x":-1}]}`, `{"name":"d","panels":[{"query":"logs","width":1001}]}`,
			`{"name":"d","panels":[{"title":"a\nb","query":"logs"}]}`, `{"name":"d","panels":[{}]}`,
		},
	} {
		for _, body := range bodies {
			if status, text := m.ask(ann, "POST", path, body); status != 400 || code(text) != "invalid-argument" {
				t.Errorf("%.120s: %d %s", body, status, text)
			}
		}
	}
	if n := m.count(`SELECT COUNT(*) FROM saved`); n != 0 {
		t.Errorf("%d of those are kept", n)
	}
	m.refused(400, "body-invalid", ann, "POST", "/api/v1/saved-queries", `{"name":"q","sql":"SELECT 1"}`)
}

// Lists go by name, page by page, and find parts of names and descriptions in any case.
func TestSavedThingsAreListedByName(t *testing.T) {
	m := newMatrix(t)
	for i, name := range []string{"beta", "Alpha", "gamma", "alpha", "delta"} {
		who := []string{"editor", "admin"}[i%2]
		ok[SavedQuery](m.server, 201, m.token[who], "POST", "/api/v1/saved-queries", fmt.Sprintf(`{"name":%q,"sharing":"tenant","query":"logs","description":"No %d"}`, name, i))
	}
	list := func(query string) (out []string) {
		t.Helper()
		cursor := ""
		for range 10 {
			page := ok[SavedQueries](m.server, 200, m.token["editor"], "GET", "/api/v1/saved-queries?limit=2&cursor="+cursor+query, "")
			for _, q := range page.Queries {
				out = append(out, q.Name)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		return out
	}
	for query, want := range map[string][]string{
		"":              {"Alpha", "alpha", "beta", "delta", "gamma"},
		"&search=LPH":   {"Alpha", "alpha"},
		"&search=no+4":  {"delta"},
		"&search=%25":   nil,
		"&mine=true":    {"beta", "delta", "gamma"},
		"&mine=false":   {"Alpha", "alpha", "beta", "delta", "gamma"},
		"&search=omega": nil,
	} {
		if got := list(query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	m.refused(400, "invalid-argument", m.token["editor"], "GET", "/api/v1/saved-queries?mine=maybe", "")
	m.refused(400, "invalid-argument", m.token["editor"], "GET", "/api/v1/saved-queries?cursor=%21", "")
}

// A saved thing is changed in the state that its sender saw, or not at all, and made once for an idempotency key.
func TestSavedThingsKeepToTheConventions(t *testing.T) {
	storetest.Each(t, testSavedThingsKeepToTheConventions)
}

func testSavedThingsKeepToTheConventions(t *testing.T) {
	m := newMatrix(t)
	ann := m.token["editor"]
	const path = "/api/v1/dashboards"
	first, text := m.server.request(ann, "POST", path, `{"name":"d"}`, map[string]string{"Idempotency-Key": "k"})
	again, same := m.server.request(ann, "POST", path, `{"name":"d"}`, map[string]string{"Idempotency-Key": "k"})
	if first.StatusCode != 201 || same != text || again.Header.Get("Idempotency-Replayed") != "true" || m.count(`SELECT COUNT(*) FROM saved`) != 1 {
		t.Errorf("made twice: %s, %s", text, same)
	}
	one := path + "/" + mustID(t, text)
	shown, _ := m.server.request(ann, "GET", one, "", nil)
	tag := shown.Header.Get("ETag")
	if resp, _ := m.server.request(ann, "GET", one, "", map[string]string{"If-None-Match": tag}); resp.StatusCode != 304 || tag == "" {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	if resp, text := m.server.request(ann, "PATCH", one, `{"name":"e"}`, map[string]string{"If-Match": tag}); resp.StatusCode != 200 || resp.Header.Get("ETag") == tag {
		t.Errorf("If-Match: %d %s", resp.StatusCode, text)
	}
	for _, method := range []string{"PATCH", "DELETE"} {
		if resp, text := m.server.request(ann, method, one, `{"name":"f"}`, map[string]string{"If-Match": tag}); resp.StatusCode != 412 {
			t.Errorf("%s of an older state: %d %s", method, resp.StatusCode, text)
		}
	}
	entries := ok[AuditPage](m.server, 200, m.operator, "GET", "/api/v1/audit?tenant=org-own&action=dashboard.", "").Entries
	if len(entries) != 2 || entries[0].Action != "dashboard.set" || entries[1].Action != "dashboard.create" || !strings.Contains(string(entries[0].Detail), `"saved_before"`) {
		t.Errorf("entries %+v", entries)
	}
}

// A deleted tenant takes along what was saved in it, whoever saved it, and nothing that was saved elsewhere.
func TestDeletedTenantsTakeAlongWhatWasSavedInThem(t *testing.T) {
	storetest.Each(t, testDeletedTenantsTakeAlongWhatWasSavedInThem)
}

func testDeletedTenantsTakeAlongWhatWasSavedInThem(t *testing.T) {
	m := newMatrix(t)
	id := m.make("POST", "/api/v1/tenants", `{"name":"gone","parent":"org-own"}`)
	theirs := m.user("gone", "ann@example.com", "editor")
	m.makeAs(theirs.Token, "POST", "/api/v1/dashboards", `{"name":"private"}`)
	m.makeAs(m.token["root-admin"], "POST", "/api/v1/saved-queries", `{"tenant":"gone","name":"a visitor's","query":"logs"}`)
	kept := m.makeAs(m.token["root-admin"], "POST", "/api/v1/saved-queries", `{"name":"at home","query":"logs"}`)
	m.make("POST", "/api/v1/tenants/gone/disable", "")
	m.make("DELETE", "/api/v1/tenants/gone", `{"confirm":"gone"}`)
	d := ok[Deletion](m.server, 200, m.operator, "GET", "/api/v1/tenants/"+id+"/deletion", "")
	if d.Certificate == nil || !slices.Contains(d.Certificate.Removed, auth.Removed{Store: "state", Table: "saved", Rows: 2}) {
		t.Errorf("deletion %+v, certificate %+v", d, d.Certificate)
	}
	if n := m.count(`SELECT COUNT(*) FROM saved`); n != 1 {
		t.Errorf("%d are left", n)
	}
	ok[SavedQuery](m.server, 200, m.token["root-admin"], "GET", "/api/v1/saved-queries/"+kept, "")
}

// A tenant keeps so many things, and no more.
func TestATenantSavesSoMuch(t *testing.T) {
	m := newMatrix(t)
	m.makeAs(m.token["editor"], "POST", "/api/v1/dashboards", `{"name":"first"}`)
	m.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 299)
		INSERT INTO saved SELECT id || i, tenant_id, kind, name, description, owner_user, sharing, team_id, definition, created_at, changed_at FROM saved, n`)
	m.refused(409, "wrong-state", m.token["editor"], "POST", "/api/v1/dashboards", `{"name":"one more"}`)
	m.makeAs(m.savers["sibling"], "POST", "/api/v1/dashboards", `{"name":"of another tenant"}`)
	m.makeAs(m.token["editor"], "POST", "/api/v1/saved-queries", `{"name":"of another kind","query":"logs"}`)
}
