package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
)

// The columns of testdata/authorization.txt.
var (
	matrixCallers = []string{"no-access", "viewer", "editor", "admin", "root-admin", "key:ingest", "key:query", "key:usage", "key:admin", "operator"}
	matrixPlaces  = []string{"own", "child", "grandchild", "sibling", "parent", "foreign"}
	matrixStates  = []string{"active", "inactive"}
)

// matrixLine is what every caller is answered at one endpoint, in one state of the tenant that the request is about.
type matrixLine struct {
	number int
	state  string
	want   []string // per place, or one for requests that are about no tenant; per caller a letter
}

// readMatrix reads the table: a line per endpoint and state.
func readMatrix(t *testing.T) map[string][]matrixLine {
	t.Helper()
	raw, err := os.ReadFile("testdata/authorization.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]matrixLine{}
	scan := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; scan.Scan(); n++ {
		f := strings.Fields(scan.Text())
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) == 3 && f[2] == "public" {
			out[f[0]+" "+f[1]] = []matrixLine{{number: n, state: "public"}}
			continue
		}
		if len(f) != 4 && len(f) != 3+len(matrixPlaces) {
			t.Fatalf("line %d: %d words", n, len(f))
		}
		for _, w := range f[3:] {
			if cells := strings.ReplaceAll(w, "-", ""); len(cells) != len(matrixCallers) {
				t.Fatalf("line %d: %q does not have %d letters", n, w, len(matrixCallers))
			}
		}
		line := matrixLine{number: n, state: f[2]}
		for _, w := range f[3:] {
			line.want = append(line.want, strings.ReplaceAll(w, "-", ""))
		}
		out[f[0]+" "+f[1]] = append(out[f[0]+" "+f[1]], line)
	}
	return out
}

// matrix is the API with a tree of tenants, a caller of every kind whose home is "own", and things in every tenant.
type matrix struct {
	*server
	handler  http.Handler
	token    map[string]string // of the callers
	made     map[string]string // things in tenants, by kind and place, until they are used up
	askers   map[string]string // tokens of users who ask for access, by place
	savers   map[string]string // tokens of editors, who share what they save with their tenant, by place
	inactive string            // the tenant that is disabled now
	n        int               // things made

	answered map[string]map[int]bool // statuses, by endpoint

	statements []string // of the last request: the time it takes must not tell foreign things from missing ones either
}

func newMatrix(t *testing.T) *matrix {
	m := &matrix{server: start(t), token: map[string]string{}, made: map[string]string{}, askers: map[string]string{}, savers: map[string]string{}, answered: map[string]map[int]bool{}}
	mux := http.NewServeMux()
	m.api.Register(mux)
	m.handler = mux
	for _, at := range [][2]string{{"org-parent", ""}, {"org-own", "org-parent"}, {"org-sibling", "org-parent"}, {"org-child", "org-own"},
		{"org-grandchild", "org-child"}, {"org-foreign", ""}} {
		m.make("POST", "/api/v1/tenants", bodyOf(NewTenant{Name: at[0], Parent: at[1]}))
	}
	for _, place := range matrixPlaces {
		m.make("POST", "/api/v1/tenants", bodyOf(NewTenant{Name: "leaf-" + place, Parent: "org-" + place}))
		m.askers[place] = m.user("org-"+place, "asker@example.com", "viewer").Token
		m.savers[place] = m.user("org-"+place, "saver@example.com", "editor").Token
	}
	for _, who := range matrixCallers {
		if scope, ok := strings.CutPrefix(who, "key:"); ok {
			m.token[who] = m.key("org-own", scope)
		} else if who == "operator" {
			m.token[who] = m.operator
		} else {
			m.token[who] = m.user("org-own", who+"@example.com", who).Token
		}
	}
	return m
}

// ask sends a request without a socket between, which is most of what these many would cost.
func (m *matrix) ask(token, method, path, body string) (status int, text string) {
	status, text, _ = m.askAll(token, method, path, body)
	return status, text
}

func (m *matrix) askAll(token, method, path, body string) (status int, text string, header http.Header) {
	r := httptest.NewRequestWithContext(m.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	m.statements = nil
	r = r.WithContext(store.WithTrace(r.Context(), func(query string) { m.statements = append(m.statements, query) }))
	w := httptest.NewRecorder()
	m.handler.ServeHTTP(w, r)
	raw, err := io.ReadAll(w.Result().Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return w.Code, string(raw), w.Result().Header
}

// make changes something as the operator, and returns the id of what is answered.
func (m *matrix) make(method, path, body string) string {
	m.t.Helper()
	return m.makeAs(m.operator, method, path, body)
}

func (m *matrix) makeAs(token, method, path, body string) string {
	m.t.Helper()
	status, text := m.ask(token, method, path, body)
	var made struct {
		ID string `json:"id"`
	}
	if status >= 300 || text != "" && json.Unmarshal([]byte(text), &made) != nil {
		m.t.Fatalf("%s %s %s: %d %s", method, path, body, status, text)
	}
	return made.ID
}

// thing returns the id of a thing of that kind in a tenant; there is one until use forgets it. It is made while the tenant is
// active, whatever the tenant is now.
func (m *matrix) thing(kind, place string) string {
	m.t.Helper()
	if id := m.made[kind+" "+place]; id != "" {
		return id
	}
	if m.inactive != "" {
		m.make("POST", "/api/v1/tenants/"+m.inactive+"/enable", "")
		defer m.make("POST", "/api/v1/tenants/"+m.inactive+"/disable", "")
	}
	m.n++
	id, org := "", "org-"+place
	switch email := fmt.Sprintf("u%d@example.com", m.n); kind {
	case "user":
		id = m.make("POST", "/api/v1/users", bodyOf(NewUser{Tenant: org, Email: email, Role: "no-access", Password: testPassword}))
	case "invited":
		id = m.make("POST", "/api/v1/users", bodyOf(NewUser{Tenant: org, Email: email, Role: "no-access"}))
	case "key":
		id = m.make("POST", "/api/v1/keys", `{"tenant":"`+org+`","scopes":["admin"]}`)
	case "domain":
		id = fmt.Sprintf("d%d.example", m.n)
		m.make("PUT", "/api/v1/tenants/"+org+"/email-domains/example.com", "") // people of the others go on being invited
		m.make("PUT", "/api/v1/tenants/"+org+"/email-domains/"+id, "")
	case "role":
		id = m.make("POST", "/api/v1/roles", bodyOf(NewRole{Tenant: org, Name: fmt.Sprintf("role%d", m.n), Permissions: []string{"audit.read"}}))
	case "team":
		id = m.make("POST", "/api/v1/teams", bodyOf(NewTeam{Tenant: org, Name: fmt.Sprintf("team%d", m.n)}))
	case "webhook":
		m.removeWebhooks(place)
		id = m.make("POST", "/api/v1/webhooks", bodyOf(WebhookRequest{Tenant: org, URL: "http://127.0.0.1:1/"}))
	case "query":
		id = m.makeAs(m.savers[place], "POST", "/api/v1/saved-queries", `{"name":"errors","sharing":"tenant","query":"logs"}`)
	case "dashboard":
		id = m.makeAs(m.savers[place], "POST", "/api/v1/dashboards", `{"name":"board","sharing":"tenant","panels":[{"id":"p1","query":"logs"}]}`)
	case "panel":
		id = "p1"
	case "pending", "active-access":
		id = m.makeAs(m.askers[place], "POST", "/api/v1/access-requests", bodyOf(NewAccessRequest{Tenant: org, Permissions: []string{"audit.read"},
			AccessExpiry: AccessExpiry{Expiry: "1h"}}))
		if kind == "active-access" {
			m.make("POST", "/api/v1/access-requests/"+id+"/approve", "")
		}
	case "member": // a team and a user in it
		team, user := m.thing("team", place), m.thing("user", place)
		m.make("PUT", "/api/v1/teams/"+team+"/members/"+user, "")
		id = user
	case "deletion": // of a tenant that was below; its name
		id = fmt.Sprintf("gone%d", m.n)
		m.make("POST", "/api/v1/tenants", bodyOf(NewTenant{Name: id, Parent: org}))
		m.make("POST", "/api/v1/tenants/"+id+"/disable", "")
		m.make("DELETE", "/api/v1/tenants/"+id, bodyOf(Confirmation{Confirm: id}))
	case "grant": // a user with a tenant below the home
		id = m.make("POST", "/api/v1/users", bodyOf(NewUser{Tenant: org, Email: email, Role: "no-access", Password: testPassword}))
		m.make("PUT", "/api/v1/users/"+id+"/grants/leaf-"+place, "")
	default:
		m.t.Fatalf("BUG: nothing is made as %s", kind)
	}
	m.made[kind+" "+place] = id
	return id
}

// used forgets the things of a place: a request that succeeded has changed some.
func (m *matrix) used(place string) {
	for key := range m.made {
		if strings.HasSuffix(key, " "+place) {
			delete(m.made, key)
		}
	}
}

// removeWebhooks makes room: a tenant may have few.
func (m *matrix) removeWebhooks(place string) {
	m.t.Helper()
	var list Webhooks
	if _, text := m.ask(m.operator, "GET", "/api/v1/webhooks?tenant=org-"+place, ""); json.Unmarshal([]byte(text), &list) != nil {
		m.t.Fatal(text)
	}
	for _, w := range list.Webhooks {
		m.make("DELETE", "/api/v1/webhooks/"+w.ID, "")
	}
}

// missingID is of nothing, and missingName of no tenant.
const (
	missingID   = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	missingName = "no-such-tenant"
)

var pathName = regexp.MustCompile(`\{(\w+)\}`)

// request is what is sent for a route about a place, by parts that may be replaced by what does not exist.
type request struct {
	method, path, body string
	parts              map[string]string // as in {user}: what stands for it
}

func (q request) text() (path, body string) {
	var pairs []string
	for name, v := range q.parts {
		pairs = append(pairs, "{"+name+"}", v)
	}
	r := strings.NewReplacer(pairs...)
	return r.Replace(q.path), r.Replace(q.body)
}

// missing is the request about a thing that there is not.
func (q request) missing(part string) request {
	q.parts = maps.Clone(q.parts)
	if q.parts[part] = missingID; part == "tenant" {
		q.parts[part] = missingName
	}
	return q
}

// masked replaces what a request names, by which alone answers about foreign and missing things differ.
func (q request) masked(text string) string {
	for _, v := range q.parts {
		text = strings.ReplaceAll(text, v, "(masked)")
	}
	return text
}

// request makes a request for an endpoint about a tenant, with things that are there.
func (m *matrix) request(e endpoint, place string) request {
	m.t.Helper()
	example, known := matrixRequests[e.method+" "+e.path]
	if e.body && !known {
		m.t.Fatalf("%s %s takes a body: add one to matrixRequests", e.method, e.path)
	}
	m.n++
	q := request{method: e.method, path: e.path + example.query, body: strings.ReplaceAll(example.body, "{n}", strconv.Itoa(m.n)),
		parts: map[string]string{}}
	if strings.Contains(q.body, "{tenant}") || strings.Contains(example.query, "{tenant}") {
		q.parts["tenant"] = "org-" + place
	} else if slices.Contains(e.query, "tenant") && !strings.Contains(e.path, "{") {
		q.path += "?tenant={tenant}"
		q.parts["tenant"] = "org-" + place
	}
	things := map[string]string{}
	for _, name := range pathName.FindAllStringSubmatch(q.path+q.body, -1) {
		things[name[1]] = name[1]
	}
	maps.Copy(things, example.things)
	if things["user"] == "member" { // of that team
		q.parts["user"] = m.thing("member", place)
		delete(things, "user")
	}
	for name, kind := range things {
		if is, fixed := strings.CutPrefix(kind, "="); fixed {
			q.parts[name] = is
			continue
		}
		switch kind {
		case "tenant":
			q.parts[name] = "org-" + place
		case "leaf":
			q.parts[name] = "leaf-" + place
		case "none":
			q.parts[name] = missingID
		default:
			q.parts[name] = m.thing(kind, place)
		}
	}
	return q
}

// endpoint is one of the API's, as its own description tells.
type endpoint struct {
	method, path string
	query        []string
	body         bool
	statuses     []string // that the document tells of
}

func (m *matrix) endpoints() (out []endpoint) {
	m.t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
			Body       any `json:"requestBody"`
			Responses  map[string]any
		}
	}
	status, text := m.ask("", "GET", "/api/openapi.json", "")
	if err := json.Unmarshal([]byte(text), &doc); err != nil || status != 200 || len(doc.Paths) < 40 {
		m.t.Fatalf("%d, %d paths: %v", status, len(doc.Paths), err)
	}
	delete(doc.Paths, "/api/v1/query") // is served elsewhere
	for path, methods := range doc.Paths {
		for method, op := range methods {
			e := endpoint{method: strings.ToUpper(method), path: path, body: op.Body != nil, statuses: slices.Collect(maps.Keys(op.Responses))}
			for _, p := range op.Parameters {
				if p.In == "query" {
					e.query = append(e.query, p.Name)
				}
			}
			out = append(out, e)
		}
	}
	return out
}

// matrixRequests are the requests that have more than a path: a query, a body, things of another kind than the path says, the
// kind that a list shows or leaves out.
var matrixRequests = map[string]struct {
	query, body string
	things      map[string]string
	shows       string
}{
	"GET /api/v1/tenants":                                      {query: "?limit=1000", shows: "tenant"},
	"POST /api/v1/tenants":                                     {body: `{"name":"new{n}","parent":"{tenant}"}`},
	"PATCH /api/v1/tenants/{tenant}":                           {body: `{"retention_days":30}`},
	"DELETE /api/v1/tenants/{tenant}":                          {body: `{"confirm":"{tenant}"}`},
	"POST /api/v1/tenants/{tenant}/move":                       {body: `{"parent":"{tenant}"}`}, // where it cannot go
	"GET /api/v1/tenants/{tenant}/deletion":                    {things: map[string]string{"tenant": "deletion"}},
	"POST /api/v1/tenants/{tenant}/export":                     {body: `{}`},
	"GET /api/v1/tenants/{tenant}/export/tables/{table}/{day}": {things: map[string]string{"table": "=otel_logs", "day": "=2026-11-22"}},
	"GET /api/v1/tenants/{tenant}/export/state/{kind}":         {things: map[string]string{"kind": "=users"}},
	"POST /api/v1/tenants/{tenant}/export/end":                 {body: `{"received_before":"2026-11-22T00:00:00Z","files":1,"rows":2,"bytes":3,"manifest_sha256":"ab"}`},
	"PATCH /api/v1/tenants/{tenant}/security":                  {body: `{"second_factor":"optional"}`},
	"POST /api/v1/keys/{key}/rotate":                           {body: `{"overlap":"0s"}`},
	"POST /api/v1/keys":                                        {body: `{"tenant":"{tenant}","scopes":["admin"]}`},
	"PATCH /api/v1/keys/{key}":                                 {body: `{"daily_bytes":1000}`},
	"POST /api/v1/usage/verify":                                {body: `{}`},
	"POST /api/v1/usage/corrections":                           {body: `{"tenant":"{tenant}","hour":"2020-01-01T00:00:00Z","signal":"logs","billed_bytes":1,"reason":"a test"}`},
	"DELETE /api/v1/usage/replicas/{log}":                      {things: map[string]string{"log": "none"}},

	"POST /api/v1/audit/verify": {body: `{"tenant":"{tenant}"}`},

	"POST /api/v1/webhooks":            {body: `{"tenant":"{tenant}","url":"http://127.0.0.1:1/"}`},
	"PATCH /api/v1/webhooks/{webhook}": {body: `{"enabled":true}`},

	"POST /api/v1/users":                     {body: `{"tenant":"{tenant}","email":"new{n}@example.com","role":"no-access"}`},
	"PATCH /api/v1/users/{user}":             {body: `{"name":"Ann"}`},
	"POST /api/v1/users/{user}/invitation":   {things: map[string]string{"user": "invited"}},
	"DELETE /api/v1/users/{user}/invitation": {things: map[string]string{"user": "invited"}},

	"POST /api/v1/roles":                             {body: `{"tenant":"{tenant}","name":"new{n}","permissions":["audit.read"]}`},
	"PATCH /api/v1/roles/{role}":                     {body: `{"permissions":["audit.read"]}`},
	"POST /api/v1/teams":                             {body: `{"tenant":"{tenant}","name":"new{n}"}`},
	"PATCH /api/v1/teams/{team}":                     {body: `{"roles":[]}`},
	"DELETE /api/v1/teams/{team}/members/{user}":     {things: map[string]string{"user": "member"}},
	"GET /api/v1/users/{user}/grants/{tenant}":       {things: map[string]string{"user": "grant", "tenant": "leaf"}},
	"PUT /api/v1/users/{user}/grants/{tenant}":       {things: map[string]string{"tenant": "leaf"}},
	"DELETE /api/v1/users/{user}/grants/{tenant}":    {things: map[string]string{"user": "grant", "tenant": "leaf"}},
	"GET /api/v1/access-requests":                    {query: "?limit=1000&tenant={tenant}", shows: "pending"},
	"POST /api/v1/access-requests":                   {body: `{"tenant":"{tenant}","permissions":["audit.read"],"expiry":"1h"}`},
	"GET /api/v1/access-requests/{request}":          {things: map[string]string{"request": "pending"}},
	"POST /api/v1/access-requests/{request}/approve": {things: map[string]string{"request": "pending"}},
	"POST /api/v1/access-requests/{request}/reject":  {things: map[string]string{"request": "pending"}},
	"POST /api/v1/access-requests/{request}/revoke":  {things: map[string]string{"request": "active-access"}},
	"POST /api/v1/access-requests/{request}/extend":  {body: `{"expiry":"1h"}`, things: map[string]string{"request": "active-access"}},
	"POST /api/v1/access-requests/{request}/clone":   {body: `{"expiry":"1h"}`, things: map[string]string{"request": "pending"}},

	"GET /api/v1/saved-queries":                              {query: "?tenant={tenant}", shows: "query"},
	"POST /api/v1/saved-queries":                             {body: `{"tenant":"{tenant}","name":"errors","query":"logs"}`},
	"PATCH /api/v1/saved-queries/{query}":                    {body: `{"name":"warnings"}`},
	"POST /api/v1/saved-queries/{query}/clone":               {body: `{}`},
	"POST /api/v1/saved-queries/{query}/run":                 {body: `{}`},
	"GET /api/v1/dashboards":                                 {query: "?tenant={tenant}", shows: "dashboard"},
	"POST /api/v1/dashboards":                                {body: `{"tenant":"{tenant}","name":"board"}`},
	"PATCH /api/v1/dashboards/{dashboard}":                   {body: `{"name":"another"}`},
	"POST /api/v1/dashboards/{dashboard}/clone":              {body: `{}`},
	"POST /api/v1/dashboards/{dashboard}/panels/{panel}/run": {body: `{}`},

	"POST /api/v1/session/act":                          {body: `{"tenant":"{tenant}"}`},
	"PATCH /api/v1/account":                             {body: `{"name":"Ann"}`},
	"PUT /api/v1/account/password":                      {body: `{"present":"` + testPassword + `","wanted":"` + testPassword + `"}`},
	"DELETE /api/v1/account/sessions/{session}":         {things: map[string]string{"session": "none"}},
	"POST /api/v1/account/second-factor/confirm":        {body: `{"code":"12345"}`},
	"POST /api/v1/account/second-factor/recovery-codes": {body: `{"code":"12345"}`},
	"DELETE /api/v1/account/second-factor":              {body: `{"code":"12345"}`},
	"POST /api/v1/sign-in":                              {body: `{}`},
	"POST /api/v1/invitations/accept":                   {body: `{}`},
	"POST /api/v1/password-reset":                       {body: `{}`},
	"POST /api/v1/password-reset/accept":                {body: `{}`},
}

// letters are how the table writes what is answered.
var letters = map[int]byte{200: '2', 201: '2', 202: '2', 204: '2', 400: '0', 401: '1', 403: '3', 404: '4', 409: '9', 412: 'p', 429: '7', 503: '5'}

// try sends one caller's request and returns the letter of the answer. What is answered about things that the caller may not
// know of has to be what is answered about things that there are not.
func (m *matrix) try(e endpoint, place, caller string) (letter byte, said string) {
	m.t.Helper()
	shows := matrixRequests[e.method+" "+e.path].shows
	sign := `"name":"org-` + place + `"`
	if shows != "" && shows != "tenant" {
		sign = m.thing(shows, place)
	}
	q := m.request(e, place)
	path, body := q.text()
	status, text, header := m.askAll(m.token[caller], q.method, path, body)
	if name := e.method + " " + e.path; m.answered[name] == nil {
		m.answered[name] = map[int]bool{status: true}
	} else {
		m.answered[name][status] = true
	}
	letter, known := letters[status]
	if !known {
		return '?', fmt.Sprintf("%d %s", status, text)
	}
	if letter == '2' && shows != "" && !strings.Contains(text, sign) {
		letter = 'e'
	}
	if letter == '2' && e.method != "GET" {
		m.used(place)
		m.restore(e, place, caller)
	}
	if letter == '4' && len(q.parts) > 0 {
		same, statements := false, m.statements
		for part := range q.parts {
			other := q.missing(part)
			path, body := other.text()
			otherStatus, otherText, otherHeader := m.askAll(m.token[caller], other.method, path, body)
			same = same || otherStatus == status && other.masked(otherText) == q.masked(text) && maps.EqualFunc(header, otherHeader, slices.Equal) &&
				slices.Equal(statements, m.statements)
		}
		if !same {
			m.t.Errorf("%s %s, %s, %s: answered %s, which nothing that is missing is", e.method, path, place, caller, text)
		}
	}
	return letter, fmt.Sprintf("%d %s", status, text)
}

// restore undoes what a request has done to its caller, or to the tenant itself.
func (m *matrix) restore(e endpoint, place, caller string) {
	switch e.path {
	case "/api/v1/session/act":
		m.makeAs(m.token[caller], "POST", "/api/v1/session/act", `{"tenant":""}`)
	case "/api/v1/webhooks":
		m.removeWebhooks(place)
	case "/api/v1/tenants/{tenant}/disable":
		if m.inactive == "" {
			m.make("POST", "/api/v1/tenants/org-"+place+"/enable", "")
		}
	case "/api/v1/tenants/{tenant}/enable":
		if m.inactive != "" {
			m.make("POST", "/api/v1/tenants/"+m.inactive+"/disable", "")
		}
	case "/api/v1/sign-out", "/api/v1/sign-out-everywhere":
		m.token[caller] = m.signIn("org-own", caller+"@example.com").Token
	}
}

// Every endpoint answers every kind of caller about every place as testdata/authorization.txt says.
func TestEveryEndpointAnswersEveryCallerAsTheTableSays(t *testing.T) {
	m, table := newMatrix(t), readMatrix(t)
	var all []endpoint
	for _, e := range m.endpoints() {
		name := e.method + " " + e.path
		if len(table[name]) == 0 {
			t.Errorf("an endpoint has no line in testdata/authorization.txt; add, with what every caller is to be answered:\n%s", matrixSkeleton(name))
			continue
		}
		all = append(all, e)
		for _, state := range matrixStates {
			if table[name][0].state != "public" && !slices.ContainsFunc(table[name], func(l matrixLine) bool { return l.state == state }) {
				t.Errorf("%s has no line for %s tenants", name, state)
			}
		}
	}
	if len(table) > len(all) {
		for name := range table {
			if !slices.ContainsFunc(all, func(e endpoint) bool { return e.method+" "+e.path == name }) {
				t.Errorf("%s is in the table, but there is no such endpoint", name)
			}
		}
	}
	slices.SortFunc(all, func(a, b endpoint) int {
		return table[a.method+" "+a.path][0].number - table[b.method+" "+b.path][0].number
	})
	for _, state := range matrixStates {
		for i, place := range matrixPlaces {
			if state == "inactive" {
				m.make("POST", "/api/v1/tenants/org-"+place+"/disable", "")
				m.inactive = "org-" + place
			}
			for _, e := range all {
				for _, line := range table[e.method+" "+e.path] {
					if line.state == state && (i == 0 || len(line.want) > 1) {
						m.checkLine(e, line, place, line.want[i])
					}
				}
			}
			if state == "inactive" {
				m.inactive = ""
				m.make("POST", "/api/v1/tenants/org-"+place+"/enable", "")
			}
		}
	}
	for _, e := range all {
		m.checkWithoutCredential(e, table[e.method+" "+e.path][0].state == "public")
		m.checkRefusals(e, table[e.method+" "+e.path][0].state == "public")
	}
}

// notProvoked are refusals that the document tells of and that need more than a caller and a place.
var notProvoked = map[string]string{
	"GET /api/v1/usage/verify 404":       "before the first comparison",
	"GET /api/v1/usage/export/key 404":   "a key that is named by id",
	"POST /api/v1/usage/verify 404":      "a tenant that is none",
	"POST /api/v1/usage/corrections 404": "a tenant that is none",
}

// checkRefusals wants that the document tells of every refusal that was answered, and of 403 and 404 only where they were.
func (m *matrix) checkRefusals(e endpoint, public bool) {
	m.t.Helper()
	name := e.method + " " + e.path
	for status := range m.answered[name] {
		if status >= 400 && !slices.Contains(e.statuses, strconv.Itoa(status)) {
			m.t.Errorf("%s answers %d, and its document has %s", name, status, e.statuses)
		}
	}
	for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
		told := fmt.Sprintf("%s %d", name, status)
		if !public && slices.Contains(e.statuses, strconv.Itoa(status)) && !m.answered[name][status] && notProvoked[told] == "" {
			m.t.Errorf("%s: the document tells of %d, which nobody was answered: add it to notProvoked, with what it needs", name, status)
		}
	}
	if told := slices.Contains(e.statuses, "401"); !public && !told {
		m.t.Errorf("%s: the document does not tell of 401", name)
	}
}

func (m *matrix) checkLine(e endpoint, line matrixLine, place, want string) {
	m.t.Helper()
	for i, caller := range matrixCallers {
		if want[i] == '.' {
			continue
		}
		got, said := m.try(e, place, caller)
		if got != want[i] {
			m.t.Errorf("line %d: %s %s, %s %s, %s: got %c, want %c: %.300s", line.number, e.method, e.path, line.state, place, caller, got, want[i], said)
		}
	}
}

// checkWithoutCredential wants that nobody is answered, except where everybody is.
func (m *matrix) checkWithoutCredential(e endpoint, public bool) {
	m.t.Helper()
	path, body := m.request(e, "own").text()
	status, text := m.ask("", e.method, path, body)
	if refused := status == http.StatusUnauthorized && strings.Contains(text, `"credential-missing"`); refused == public {
		m.t.Errorf("%s %s without a credential: %d %s", e.method, path, status, text)
	}
	status, text = m.ask("hgs_"+missingID+"_"+missingID, e.method, path, body)
	if refused := status == http.StatusUnauthorized && strings.Contains(text, `"session-ended"`); refused == public {
		m.t.Errorf("%s %s with an ended session: %d %s", e.method, path, status, text)
	}
}

func matrixSkeleton(name string) string {
	out := ""
	for _, state := range matrixStates {
		out += name + "  " + state + strings.Repeat("  ?????-????-?", len(matrixPlaces)) + "\n"
	}
	return out
}

// bearer makes a user of org-own whose role has these permissions, and who was granted the child and what is below.
func (m *matrix) bearer(permissions []string) {
	m.t.Helper()
	caller := strings.Join(permissions, " ")
	if m.token[caller] != "" {
		return
	}
	m.n++
	role := "no-access"
	if len(permissions) > 0 {
		role = fmt.Sprintf("bearer%d", m.n)
		m.make("POST", "/api/v1/roles", bodyOf(NewRole{Tenant: "org-own", Name: role, Permissions: permissions}))
	}
	in := m.user("org-own", fmt.Sprintf("bearer%d@example.com", m.n), role)
	for _, granted := range []string{"org-child", "leaf-child"} {
		m.make("PUT", "/api/v1/users/"+in.User.ID+"/grants/"+granted, "")
	}
	m.token[caller] = in.Token
}

// Built-in roles have many permissions at once. Here every endpoint is asked by users who have just those that it takes, and by
// users who have all but one of them.
func TestEveryEndpointTakesThePermissionsThatTheTableSays(t *testing.T) {
	m := newMatrix(t)
	raw, err := os.ReadFile("testdata/permissions.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range permission.All {
		all = append(all, string(p.Permission))
	}
	known := map[string]endpoint{}
	for _, e := range m.endpoints() {
		known[e.method+" "+e.path] = e
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		e, ok := known[f[0]+" "+f[1]]
		if !ok {
			t.Errorf("%s %s is in the table, but there is no such endpoint", f[0], f[1])
			continue
		}
		try := func(permissions []string, want byte) {
			t.Helper()
			m.bearer(permissions)
			if got, said := m.try(e, "child", strings.Join(permissions, " ")); got != want {
				t.Errorf("%s %s with %s: %c, want %c: %.300s", e.method, e.path, permissions, got, want, said)
			}
		}
		done := byte('2')
		if f[0]+" "+f[1] == "DELETE /api/v1/tenants/{tenant}" {
			done = '9' // it has an active child
		}
		enough := [][]string{{}}
		for _, word := range f[2:] {
			choices := strings.Split(word, "|")
			var next [][]string
			for _, have := range enough {
				for _, c := range choices {
					next = append(next, append(slices.Clone(have), c))
				}
			}
			enough = next
			try(slices.DeleteFunc(slices.Clone(all), func(p string) bool { return slices.Contains(choices, p) }), '3')
		}
		for _, permissions := range enough {
			try(permissions, done)
		}
	}
}
