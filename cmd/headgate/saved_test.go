package main

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/asktest"
)

// Dashboards and scopes of several tenants, from the first tenant on, by the public API of real processes on both databases.
func TestSavedQueriesAndScopesOfSeveralTenants(t *testing.T) {
	onBothDatabases(t, map[string]func(*site){"dashboards": sharedDashboards, "scopes": severalTenants})
}

// bodies returns the bodies of the rows of an answer in NDJSON, sorted.
func bodies(t *testing.T, text string) (out []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		out = append(out, unmarshal[struct{ Body string }](t, line).Body)
	}
	slices.Sort(out)
	return out
}

// reads wants the rows with these bodies.
func (s *site) reads(want []string, credential, path, body string) {
	s.t.Helper()
	status, text := s.ask(credential, "POST", path, body)
	if status != 200 {
		s.t.Errorf("POST %s %s: %d %s", path, body, status, text)
		return
	}
	if got := bodies(s.t, text); !slices.Equal(got, want) {
		s.t.Errorf("POST %s %s reads %q, want %q", path, body, got, want)
	}
}

// sharedDashboards: an author shares a dashboard with a team; who is in it runs it with values, others do not know of it.
func sharedDashboards(s *site) {
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"boards"}`)
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"others"}`)
	ann, eve := s.first("boards", "ann@boards.example", "admin"), s.first("others", "eve@others.example", "admin")
	ed := s.invited(ann.Token, "boards", "ed@boards.example", "editor")
	fay := s.invited(ann.Token, "boards", "fay@boards.example", "editor")
	vic := s.invited(ann.Token, "boards", "vic@boards.example", "viewer")
	wim := s.invited(ann.Token, "boards", "wim@boards.example", "viewer")
	for name, member := range map[string]string{"first": vic.User.ID, "second": wim.User.ID} {
		team := send[control.Team](s, ann.Token, "POST", "/api/v1/teams", quoted(`{"name":%q}`, name))
		s.do(ann.Token, "PUT", "/api/v1/teams/"+team.ID+"/members/"+member, "")
	}
	s.mustPost("/v1/logs", s.key("boards", "ingest"), record("one"))
	s.mustPost("/v1/logs", s.key("boards", "ingest"), record("two"))
	s.mustPost("/v1/logs", s.key("others", "ingest"), record("theirs"))
	s.flushed()

	const board = `{"name":"Errors","sharing":"team","team":"first","start":"-1h","panels":[
		{"id":"rows","query":"logs | where body ~ $part and severity >= \"error\" | project body"},
		{"id":"listed","query":"logs | where body in $among | project body"},
		{"id":"counts","display":"bar","query":"logs | summarize n = count() by bin($width)"}],
		"variables":[{"name":"part","type":"string","default":""},{"name":"width","type":"duration","values":["1m","1h"],"default":"1h"},
			{"name":"among","type":"list","default":["one"]}]}`
	made := send[control.Dashboard](s, ed.Token, "POST", "/api/v1/dashboards", board)
	path := "/api/v1/dashboards/" + made.ID
	rows, listed := path+"/panels/rows/run", path+"/panels/listed/run"
	s.reads([]string{"one", "two"}, vic.Token, rows, `{"format":"ndjson"}`)
	s.reads([]string{"two"}, vic.Token, rows, `{"format":"ndjson","variables":{"part":"TWO"}}`)
	s.reads(nil, vic.Token, rows, `{"format":"ndjson","variables":{"part":"\" or true or body ~ \""}}`) // a value is never syntax
	s.reads([]string{"one"}, vic.Token, listed, `{"format":"ndjson"}`)
	s.reads([]string{"one", "two"}, vic.Token, listed, `{"format":"ndjson","variables":{"among":["two","one","theirs"]}}`)
	for _, bad := range []string{`{"variables":{"width":"2m"}}`, `{"variables":{"width":5}}`, `{"variables":{"part":["x"]}}`, `{"variables":{"depart":"x"}}`} {
		s.refuse(400, "invalid-argument", vic.Token, "POST", path+"/panels/counts/run", bad)
	}
	if status, text := s.ask(vic.Token, "POST", path+"/panels/counts/run", `{"variables":{"width":"1m"}}`); status != 200 || !strings.Contains(text, `"name":"n"`) {
		s.t.Errorf("counts: %d %s", status, text)
	}

	// To who is in another team, or in another tenant, it is as if it were not there; a viewer who sees it changes nothing.
	missing := "/api/v1/dashboards/01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, who := range []string{wim.Token, fay.Token, eve.Token} {
		for _, c := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"DELETE", ""}, {"POST", "/clone"}, {"POST", "/panels/rows/run"}} {
			status, text := s.ask(who, c[0], path+c[1], "{}")
			none, same := s.ask(who, c[0], missing+c[1], "{}")
			if status != 404 || none != 404 || strings.ReplaceAll(text, made.ID, "") != strings.ReplaceAll(same, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "") {
				s.t.Errorf("%s %s of what is not shared: %d %s, of what is not there: %d %s", c[0], c[1], status, text, none, same)
			}
		}
	}
	s.refuse(403, "forbidden", vic.Token, "PATCH", path, `{"name":"mine"}`)
	s.refuse(403, "forbidden", vic.Token, "POST", path+"/clone", `{}`)

	// An editor clones what is shared with the tenant, and changes the copy.
	s.do(ed.Token, "PATCH", path, `{"sharing":"tenant"}`)
	copied := send[control.Dashboard](s, fay.Token, "POST", path+"/clone", `{"name":"Mine"}`)
	s.do(fay.Token, "PATCH", "/api/v1/dashboards/"+copied.ID, `{"panels":[{"id":"rows","query":"logs | where body == \"two\" | project body"}],"variables":[]}`)
	s.reads([]string{"two"}, fay.Token, "/api/v1/dashboards/"+copied.ID+"/panels/rows/run", `{"format":"ndjson"}`)
	s.reads([]string{"one", "two"}, wim.Token, rows, `{"format":"ndjson"}`)
	s.refuse(404, "not-found", wim.Token, "GET", "/api/v1/dashboards/"+copied.ID, "")

	// What does not parse is not saved, and the answer points at it.
	for _, c := range []struct{ query, want string }{
		{`logs | where sevice == \"x\"`, `did you mean \"service\"`},
		{`logs | where body == $none`, "unknown variable $none"},
		{`SELECT * FROM otel_logs`, "unknown source"},
	} {
		status, text := s.ask(ed.Token, "POST", "/api/v1/dashboards", `{"name":"x","panels":[{"id":"second","query":"`+c.query+`"}]}`)
		if status != 400 || !strings.Contains(text, `"code":"query-syntax"`) || !strings.Contains(text, c.want) || !strings.Contains(text, `"caret"`) || !strings.Contains(text, `"panel":"second"`) {
			s.t.Errorf("%s: %d %s", c.query, status, text)
		}
	}
	query := send[control.SavedQuery](s, ed.Token, "POST", "/api/v1/saved-queries",
		`{"name":"since","sharing":"tenant","query":"logs | where time >= $since | project body","variables":[{"name":"since","type":"datetime"}]}`)
	run := "/api/v1/saved-queries/" + query.ID + "/run"
	s.reads([]string{"one", "two"}, vic.Token, run, quoted(`{"format":"ndjson","variables":{"since":%q}}`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
	s.reads(nil, s.key("boards", "query"), run, quoted(`{"format":"ndjson","variables":{"since":%q}}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	s.refuse(404, "not-found", s.key("others", "query"), "POST", run, `{}`)
	s.refuse(400, "query-syntax", ed.Token, "POST", "/api/v1/saved-queries", `{"name":"plan","plan":{"from":"logs","select":1}}`)
	plan := send[control.SavedQuery](s, ed.Token, "POST", "/api/v1/saved-queries", `{"name":"plan","plan":{"from":"logs","where":{"op":"==","args":[{"field":"body"},{"var":"is"}]}},
		"variables":[{"name":"is","type":"string","default":"two"}]}`)
	s.reads([]string{"two"}, ed.Token, "/api/v1/saved-queries/"+plan.ID+"/run", `{"format":"ndjson"}`)
	documented(s, ann.Token)
}

// documented sends what docs/saved-queries.md shows.
func documented(s *site, token string) {
	raw, err := os.ReadFile("../../docs/saved-queries.md")
	if err != nil {
		s.t.Fatal(err)
	}
	bodies := regexp.MustCompile(`(?s)-d '(\{.*?\})'`).FindAllStringSubmatch(string(raw), -1)
	board := regexp.MustCompile("(?s)```\n(\\{\"name\".*?)\n```").FindStringSubmatch(string(raw))
	if len(bodies) != 2 || board == nil {
		s.t.Fatalf("the page has %d bodies, and a dashboard: %t", len(bodies), board != nil)
	}
	saved := send[control.SavedQuery](s, token, "POST", "/api/v1/saved-queries", bodies[0][1])
	s.do(token, "POST", "/api/v1/saved-queries/"+saved.ID+"/run", bodies[1][1])
	s.do(token, "POST", "/api/v1/teams", `{"name":"first-line"}`)
	made := send[control.Dashboard](s, token, "POST", "/api/v1/dashboards", board[1])
	for _, p := range made.Panels {
		s.do(token, "POST", "/api/v1/dashboards/"+made.ID+"/panels/"+p.ID+"/run", `{}`)
	}
}

// severalTenants: a parent reads its children at once, and no sibling; who looks in for a time does so until the time is over.
func severalTenants(s *site) {
	s.do(s.operator, "POST", "/api/v1/tenants", `{"name":"group"}`)
	for name, parent := range map[string]string{"east": "group", "west": "group", "beside": ""} {
		s.do(s.operator, "POST", "/api/v1/tenants", quoted(`{"name":%q,"parent":%q}`, name, parent))
		s.mustPost("/v1/logs", s.key(name, "ingest"), record("of "+name))
	}
	s.mustPost("/v1/logs", s.key("group", "ingest"), record("of group"))
	s.flushed()
	const query, path = `{"query":"logs | project body","format":"ndjson"}`, "/api/v1/query"
	rita, ann := s.first("group", "rita@group.example", "root-admin"), s.first("east", "ann@east.example", "admin")
	key := send[control.NewKey](s, rita.Token, "POST", "/api/v1/keys", `{"scopes":["query","descendants"]}`).Text
	s.refuse(403, "forbidden", ann.Token, "POST", "/api/v1/keys", `{"scopes":["query","descendants"]}`)
	all := []string{"of east", "of group", "of west"}
	for _, who := range []string{rita.Token, key} {
		s.reads(all, who, path, query)
		s.reads([]string{"of east", "of west"}, who, path, `{"query":"logs | project body","format":"ndjson","tenants":["east","west"]}`)
		s.refuse(404, "not-found", who, "POST", path, `{"query":"logs","tenants":["east","beside"]}`)
		s.refuse(404, "not-found", who, "POST", path, `{"query":"logs","tenants":["no-such"]}`)
	}
	s.reads([]string{"of east"}, ann.Token, path, query)
	s.reads([]string{"of group"}, s.key("group", "query"), path, query)

	// The tenant is a column, and the header narrows.
	status, text := s.ask(key, "POST", path, `{"query":"logs | summarize n = count() by tenant","format":"ndjson"}`)
	if status != 200 || strings.Count(text, `"n":1`) != 3 {
		s.t.Errorf("by tenant: %d %s", status, text)
	}
	for header, want := range map[string]string{"east": "of east", "East, west": "of east,of west", "beside": "404", "group,beside": "404", "": "of east,of group,of west"} {
		if got := s.withHeader(key, header, query); got != want {
			s.t.Errorf("%s %q reads %s, want %s", TenantHeader, header, got, want)
		}
	}
	if got := s.withHeader(s.key("beside", "query"), "group", query); got != "404" { // no credential
		s.t.Errorf("a header of another tenant reads %s", got)
	}
	scope := get[control.QueryScope](s, key, "/api/v1/query/scope")
	if scope.Total != 3 || scope.Tenants[0].Name != "east" || scope.Max != auth.MaxScope {
		s.t.Errorf("scope %+v", scope)
	}

	// What is saved above reads all that its viewer may, and no more.
	saved := send[control.SavedQuery](s, rita.Token, "POST", "/api/v1/saved-queries", `{"name":"all","sharing":"tenant","query":"logs | project body"}`)
	run := "/api/v1/saved-queries/" + saved.ID + "/run"
	vic := s.invited(rita.Token, "group", "vic@group.example", "viewer")
	s.reads(all, rita.Token, run, `{"format":"ndjson"}`)
	s.reads(all, key, run, `{"format":"ndjson"}`)
	s.reads([]string{"of group"}, vic.Token, run, `{"format":"ndjson"}`)
	s.refuse(404, "not-found", ann.Token, "POST", run, `{}`)
	s.do(rita.Token, "PUT", "/api/v1/users/"+vic.User.ID+"/grants/west", "")
	s.reads([]string{"of group", "of west"}, vic.Token, run, `{"format":"ndjson"}`)
	s.do(rita.Token, "DELETE", "/api/v1/users/"+vic.User.ID+"/grants/west", "")
	s.reads([]string{"of group"}, vic.Token, run, `{"format":"ndjson"}`)

	// Access for a time ends by itself, on the session that it was used by.
	reads := func(want ...string) bool {
		_, text := s.ask(vic.Token, "POST", path, query)
		return slices.Equal(bodies(s.t, text), want)
	}
	var asked control.AccessRequest
	until := s.ending(func(end time.Time) bool {
		status, text := s.ask(vic.Token, "POST", "/api/v1/access-requests", quoted(`{"tenant":"east","permissions":["queries.run"],"until":%q}`, end.Format(time.RFC3339Nano)))
		if status >= 300 {
			return false
		}
		asked = unmarshal[control.AccessRequest](s.t, text)
		status, _ = s.ask(rita.Token, "POST", "/api/v1/access-requests/"+asked.ID+"/approve", "")
		return status < 300
	}, func() bool { return reads("of east", "of group") })
	s.soon("the end of the access", func() bool { return reads("of group") })
	if timeNow().Before(until) {
		s.t.Error("the access ended before its time")
	}
	entries := get[control.AuditPage](s, ann.Token, "/api/v1/audit?action=query.run&actor=user:"+vic.User.ID).Entries
	if len(entries) == 0 || entries[0].Actor != "user:"+vic.User.ID || !strings.Contains(string(entries[0].Detail), asked.ID) {
		s.t.Errorf("the audit of east tells of %+v", entries)
	}

	// A child that is disabled, or moved away, is read no more.
	s.do(rita.Token, "POST", "/api/v1/tenants/west/disable", "")
	s.soon("west's end in the scope", func() bool { _, text := s.ask(key, "POST", path, query); return !strings.Contains(text, "west") })
	s.reads([]string{"of east", "of group"}, key, path, query)
	s.refuse(404, "not-found", key, "POST", path, `{"query":"logs","tenants":["west"]}`)
	s.do(s.operator, "POST", "/api/v1/tenants/east/move", `{"parent":"beside"}`)
	s.soon("east's move", func() bool { _, text := s.ask(key, "POST", path, query); return !strings.Contains(text, "east") })
	for _, who := range []string{key, rita.Token} {
		s.reads([]string{"of group"}, who, path, query)
		s.reads([]string{"of group"}, who, run, `{"format":"ndjson"}`)
	}
}

// withHeader returns the bodies that a query reads with a tenant header, or the status of a refusal.
func (s *site) withHeader(credential, tenants, body string) string {
	s.t.Helper()
	header := asktest.Bearer(credential)
	header.Set(TenantHeader, tenants)
	resp, text := asktest.Do(s.t, http.MethodPost, "http://"+s.addr.API+"/api/v1/query", body, header)
	if resp.StatusCode != 200 {
		return resp.Status[:3]
	}
	return strings.Join(bodies(s.t, text), ",")
}
