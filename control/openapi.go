package control

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth"
)

// openAPI makes the OpenAPI 3.1 document of the routes: paths, parameters, and the schemas of bodies and answers by
// reflection on their Go types.
func openAPI(routes []route, version string) map[string]any {
	schemas := map[string]any{"Problem": map[string]any{
		"type": "object", "description": "RFC 9457 problem document; code is stable",
		"properties": map[string]any{
			"status": map[string]any{"type": "integer"}, "code": map[string]any{"type": "string"},
			"title": map[string]any{"type": "string"}, "detail": map[string]any{"type": "string"}, "type": map[string]any{"type": "string"},
		},
		"required": []string{"type", "status", "code", "title", "detail"},
	}}
	asked := map[reflect.Type]bool{}
	for _, rt := range routes {
		if rt.body != nil {
			addTypes(reflect.TypeOf(rt.body), asked)
		}
	}
	paths := map[string]map[string]any{}
	for _, rt := range routes {
		if paths[rt.path] == nil {
			paths[rt.path] = map[string]any{}
		}
		paths[rt.path][strings.ToLower(rt.method)] = operation(rt, shownBy(routes, rt) != nil, schemas, asked)
	}
	paths["/api/v1/query"] = map[string]any{"post": map[string]any{
		"summary": "Run a query, given as text in query or as JSON in plan; the rows are streamed. See docs/query.md and docs/oql.md",
		"requestBody": jsonContent(map[string]any{"type": "object", "properties": map[string]any{
			"query": map[string]any{"type": "string"}, "plan": map[string]any{"type": "object"}, "start": map[string]any{"type": "string"}, "end": map[string]any{"type": "string"},
			"format":  map[string]any{"type": "string", "enum": []string{"json", "ndjson", "csv", "parquet", "arrow"}},
			"tenants": map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "description": "names or ids: of what the caller may read, only these"},
			"variables": map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "object", "required": []string{"type", "value"},
				"properties": map[string]any{"type": map[string]any{"type": "string"}, "value": map[string]any{}}}},
		}}),
		"responses": map[string]any{"200": map[string]any{"description": "the rows"}, "default": problemResponse("a problem")},
	}}
	return map[string]any{
		"openapi":  "3.1.0",
		"info":     map[string]any{"title": "headgate", "version": version},
		"security": []any{map[string]any{"bearer": []any{}}, map[string]any{"cookie": []any{}, "csrf": []any{}}},
		"paths":    paths,
		"components": map[string]any{
			"schemas": schemas,
			"securitySchemes": map[string]any{
				"bearer": map[string]any{"type": "http", "scheme": "bearer", "description": "an API key, a session's token, or the operator token"},
				"cookie": map[string]any{"type": "apiKey", "in": "cookie", "name": SessionCookie, "description": "of browsers, set by signing in"},
				"csrf": map[string]any{"type": "apiKey", "in": "header", "name": CSRFHeader,
					"description": "beside the cookie where something is changed; the csrf of the session"},
			},
		},
	}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// parameters are the schemas of query parameters that are more than text.
var parameters = map[string]map[string]any{
	"limit":   {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100, "description": "of the page"},
	"cursor":  {"type": "string", "description": "the next of the page before"},
	"from":    {"type": "string", "description": "first moment, RFC 3339 or a date", "examples": []string{"2026-11-01", "2026-11-01T08:00:00Z"}},
	"to":      {"type": "string", "description": "end, exclusive, RFC 3339 or a date"},
	"tenant":  {"type": "string", "description": "name or id"},
	"search":  {"type": "string", "description": "part of a name or address, in any case"},
	"outcome": {"type": "string", "enum": []string{auth.OutcomeOK, auth.OutcomeRefused}},
	"action":  {"type": "string", "description": "all that begin so where it ends with a point", "examples": []string{"key.create", "key."}},
}

func parameterSchema(name string) map[string]any {
	if s := parameters[name]; s != nil {
		return s
	}
	return map[string]any{"type": "string"}
}

func headerParameter(name, about string) map[string]any {
	return map[string]any{"name": name, "in": "header", "description": about, "schema": map[string]any{"type": "string"}}
}

func operation(rt route, shown bool, schemas map[string]any, asked map[reflect.Type]bool) map[string]any {
	params := []any{}
	for _, m := range pathParameter.FindAllStringSubmatch(rt.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, name := range rt.query {
		params = append(params, map[string]any{"name": name, "in": "query", "schema": parameterSchema(name)})
	}
	if rt.method == http.MethodPost && rt.scope != public {
		params = append(params, headerParameter(idempotencyHeader, "makes the request once for a day, however often it is sent"))
	}
	if shown {
		params = append(params, headerParameter("If-Match", "the ETag of the state that the change is for; in another one it is refused with 412"))
	}
	if rt.isResource() {
		params = append(params, headerParameter("If-None-Match", "an ETag: 304 where the state is the same"))
	}
	success := map[string]any{"description": "success"}
	if rt.answer != nil {
		kind := "application/json"
		if reflect.TypeOf(rt.answer) == reflect.TypeFor[VerifyLine]() {
			kind = "application/x-ndjson" // the schema is that of a line
		}
		success = content(kind, schemaOf(reflect.TypeOf(rt.answer), schemas, asked))
		success["description"] = "success"
	}
	responses := map[string]any{strconv.Itoa(max(rt.status, http.StatusOK)): success, "default": problemResponse("a problem")}
	for _, status := range rt.refusals(shown) {
		responses[strconv.Itoa(status)] = problemResponse(http.StatusText(status))
	}
	op := map[string]any{"operationId": operationID(rt), "summary": rt.summary, "parameters": params, "responses": responses}
	if rt.body != nil {
		op["requestBody"] = jsonContent(schemaOf(reflect.TypeOf(rt.body), schemas, asked))
	}
	if rt.scope == public {
		op["security"] = []any{}
	}
	return op
}

// operationID names an operation for generated clients: get_tenants_tenant.
func operationID(rt route) string {
	path := strings.NewReplacer("{", "", "}", "", "/", "_", "-", "_", ".", "_").Replace(strings.TrimPrefix(rt.path, "/api/v1/"))
	return strings.ToLower(rt.method) + "_" + path
}

// addTypes adds the structs that a body is made of.
func addTypes(t reflect.Type, to map[reflect.Type]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		addTypes(t.Elem(), to)
	case reflect.Struct:
		if to[t] {
			return
		}
		to[t] = true
		for i := range t.NumField() {
			addTypes(t.Field(i).Type, to)
		}
	}
}

func jsonContent(schema any) map[string]any { return content("application/json", schema) }

func content(kind string, schema any) map[string]any {
	return map[string]any{"content": map[string]any{kind: map[string]any{"schema": schema}}}
}

func problemResponse(about string) map[string]any {
	out := content("application/problem+json", map[string]any{"$ref": "#/components/schemas/Problem"})
	out["description"] = about
	return out
}

// schemaOf returns the JSON Schema of a type; named structs go into schemas and are referred to.
func schemaOf(t reflect.Type, schemas map[string]any, asked map[reflect.Type]bool) map[string]any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case reflect.TypeFor[optionalBytes]():
		return map[string]any{"type": []string{"integer", "null"}}
	case reflect.TypeFor[optionalLimits]():
		return map[string]any{"type": []string{"array", "null"}, "items": schemaOf(reflect.TypeFor[Limit](), schemas, asked)}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := schemaOf(t.Elem(), schemas, asked)
		if kind, ok := s["type"].(string); ok {
			s["type"] = []string{kind, "null"}
		}
		return s
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas, asked)}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), schemas, asked)}
	case reflect.Struct:
		if _, known := schemas[t.Name()]; !known {
			properties := map[string]any{}
			schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
			schemas[t.Name()] = schema
			if required := addFields(t, properties, schemas, asked); len(required) > 0 && !asked[t] {
				schema["required"] = required // of bodies the handlers say what is missing
			}
		}
		return map[string]any{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer", "format": "int64"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	}
	panic("BUG: no JSON schema for " + t.String())
}

// addFields adds the members of a struct, and returns those that are always there.
func addFields(t reflect.Type, properties, schemas map[string]any, asked map[reflect.Type]bool) (required []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			required = append(required, addFields(f.Type, properties, schemas, asked)...)
		case name != "" && name != "-":
			properties[name] = schemaOf(f.Type, schemas, asked)
			if !strings.Contains(options, "omit") {
				required = append(required, name)
			}
		}
	}
	return required
}
