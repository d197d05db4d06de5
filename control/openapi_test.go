package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// document is the API's own description, which its requests and answers are checked against.
type document struct {
	Paths      map[string]map[string]operationDoc
	Components struct {
		Schemas         map[string]map[string]any
		SecuritySchemes map[string]any
	}
}

type operationDoc struct {
	OperationID string
	Parameters  []struct {
		Name, In string
		Schema   map[string]any
	}
	RequestBody *contentDoc
	Responses   map[string]contentDoc
}

type contentDoc struct {
	Content map[string]struct{ Schema map[string]any }
}

// wrong returns where v is not what the schema says, "" if it is. It knows what openAPI writes, and refuses what it does not know.
func (d *document) wrong(schema map[string]any, v any, at string) string {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		if d.Components.Schemas[name] == nil {
			return fmt.Sprintf("%s: no schema %s", at, name)
		}
		return d.wrong(d.Components.Schemas[name], v, at)
	}
	for word := range schema {
		if !slices.Contains([]string{"type", "format", "properties", "required", "items", "additionalProperties", "description", "enum", "minimum", "maximum",
			"default", "examples"}, word) {
			return fmt.Sprintf("%s: the schema says %s, which this test does not know", at, word)
		}
	}
	var types []string
	switch t := schema["type"].(type) {
	case string:
		types = []string{t}
	case []any:
		for _, x := range t {
			types = append(types, x.(string))
		}
	case nil:
		return "" // anything
	}
	is := typeOf(v)
	if !slices.Contains(types, is) && (is != "integer" || !slices.Contains(types, "number")) {
		return fmt.Sprintf("%s: %s (%.60v), want %v", at, is, v, types)
	}
	if all, ok := schema["enum"].([]any); ok && !slices.Contains(all, v) {
		return fmt.Sprintf("%s: %v is none of %v", at, v, all)
	}
	switch v := v.(type) {
	case string:
		if schema["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339Nano, v); err != nil {
				return fmt.Sprintf("%s: %q is no time", at, v)
			}
		}
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, x := range v {
			if w := d.wrong(items, x, fmt.Sprintf("%s[%d]", at, i)); w != "" {
				return w
			}
		}
	case map[string]any:
		return d.wrongObject(schema, v, at)
	}
	return ""
}

func (d *document) wrongObject(schema, v map[string]any, at string) string {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Sprintf("%s.%s is missing", at, name)
		}
	}
	for name, x := range v {
		s, known := properties[name].(map[string]any)
		if !known {
			more, ok := schema["additionalProperties"].(map[string]any)
			if !ok {
				if schema["additionalProperties"] == false {
					return fmt.Sprintf("%s.%s is not described", at, name)
				}
				continue
			}
			s = more
		}
		if w := d.wrong(s, x, at+"."+name); w != "" {
			return w
		}
	}
	return ""
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

// Every endpoint is asked, and what it takes and answers is what the document says of it.
func TestRequestsAndAnswersAreAsTheDocumentSays(t *testing.T) {
	m := newMatrix(t)
	var doc document
	if _, text := m.ask("", "GET", "/api/openapi.json", ""); json.Unmarshal([]byte(text), &doc) != nil {
		t.Fatal(text)
	}
	ids := map[string]bool{}
	all := m.endpoints()
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	for _, e := range all {
		name := e.method + " " + e.path
		op := doc.Paths[e.path][strings.ToLower(e.method)]
		if op.OperationID == "" || ids[op.OperationID] {
			t.Errorf("%s: operationId %q", name, op.OperationID)
		}
		ids[op.OperationID] = true
		who := auditedAs[name]
		if strings.HasPrefix(e.path, "/api/v1/account") || e.path == "/api/v1/session" || e.path == "/api/v1/limits" && e.method == http.MethodGet {
			who = "viewer"
		} else if who == "" {
			who = "operator"
		}
		q := m.request(e, "own")
		path, body := q.text()
		if own := auditedBodies[name]; own != "" {
			body = own
		}
		if op.RequestBody != nil {
			var v any
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Errorf("%s: %v in %s", name, err, body)
			} else if w := doc.wrong(op.RequestBody.Content["application/json"].Schema, v, "body"); w != "" {
				t.Errorf("%s: %s", name, w)
			}
			if status, text := m.ask(m.token[who], q.method, path, `{"member_that_there_is_not":1}`); status < 400 {
				t.Errorf("%s takes an unknown member: %d %s", name, status, text)
			}
		}
		status, text, header := m.askAll(m.token[who], q.method, path, body)
		answer, described := op.Responses[strconv.Itoa(status)]
		kind := header.Get("Content-Type")
		if status >= 400 {
			if kind != "application/problem+json" {
				t.Errorf("%s: %d of type %q", name, status, kind)
			}
		}
		if !described || status >= 500 {
			t.Errorf("%s: %d is not described: %.200s", name, status, text)
			continue
		}
		if content, ok := answer.Content[kind]; ok {
			all := []string{text}
			if kind == "application/x-ndjson" {
				all = strings.Split(strings.TrimSpace(text), "\n")
			}
			for _, one := range all {
				var v any
				if err := json.Unmarshal([]byte(one), &v); err != nil {
					t.Errorf("%s: %v in %.200s", name, err, one)
				} else if w := doc.wrong(content.Schema, v, "answer"); w != "" {
					t.Errorf("%s: %d: %s", name, status, w)
				}
			}
		} else if len(answer.Content) > 0 {
			t.Errorf("%s: %d of type %q is not described", name, status, kind)
		}
		m.used("own")
		if e.method != http.MethodGet && status < 300 {
			m.restore(e, "own", who)
		}
	}
	for _, scheme := range []string{"bearer", "cookie", "csrf"} {
		if doc.Components.SecuritySchemes[scheme] == nil {
			t.Errorf("no security scheme %s", scheme)
		}
	}
}

// Whatever has an ETag is not changed in another state than If-Match names, and the document says so; 429 is told where tries are counted.
func TestTheDocumentTellsOfPreconditionsAndLimits(t *testing.T) {
	m := newMatrix(t)
	preconditions := 0
	for _, e := range m.endpoints() {
		name := e.method + " " + e.path
		if e.method == http.MethodGet || e.method == http.MethodPost {
			if slices.Contains(e.statuses, "412") {
				t.Errorf("%s: the document tells of 412", name)
			}
			continue
		}
		who := auditedAs[name]
		if strings.HasPrefix(e.path, "/api/v1/account") {
			who = "viewer"
		} else if who == "" {
			who = "operator"
		}
		there := e
		if strings.Contains(e.path, "/grants/") {
			there.method = http.MethodDelete // of a grant that there is
		}
		path, body := m.request(there, "own").text()
		resp, text := m.server.request(m.token[who], e.method, path, body, map[string]string{"If-Match": `"another"`})
		if resp.StatusCode != 412 {
			t.Errorf("%s of another state: %d %s", name, resp.StatusCode, text)
		}
		if changes := code(text) == errChanged.Code && !strings.Contains(text, "nothing with an ETag"); changes != slices.Contains(e.statuses, "412") {
			t.Errorf("%s: the document tells of %v, answered was %s", name, e.statuses, text)
		} else if changes {
			preconditions++
		}
	}
	if preconditions < 10 {
		t.Errorf("only %d changes of what has an ETag", preconditions)
	}
	for range failuresToLimit {
		m.ask("", "POST", "/api/v1/sign-in", `{"slug":"org-own","email":"viewer@example.com","password":"wrong password"}`)
	}
	if status, text := m.ask("", "POST", "/api/v1/sign-in", `{"slug":"org-own","email":"viewer@example.com","password":"wrong password"}`); status != 429 {
		t.Errorf("after many failures: %d %s", status, text)
	}
	known := map[string][]string{}
	for _, e := range m.endpoints() {
		known[e.method+" "+e.path] = e.statuses
	}
	if !slices.Contains(known["POST /api/v1/sign-in"], "429") {
		t.Errorf("POST /api/v1/sign-in: the document tells of %v", known["POST /api/v1/sign-in"])
	}
	for _, name := range slices.Concat(conflicting, limited, slices.Collect(maps.Keys(publicRefusals))) {
		if known[name] == nil {
			t.Errorf("refusals.go names %s, which is no endpoint", name)
		}
	}
}

const failuresToLimit = 10 // of an account, see docs/administration.md
