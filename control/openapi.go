package control

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// openAPI makes the OpenAPI 3.1 document of the routes: paths, parameters, and the schemas of bodies and answers by
// reflection on their Go types.
func openAPI(routes []route, version string) map[string]any {
	schemas := map[string]any{"Problem": map[string]any{
		"type": "object", "description": "RFC 9457 problem document; code is stable",
		"properties": map[string]any{
			"status": map[string]any{"type": "integer"}, "code": map[string]any{"type": "string"},
			"title": map[string]any{"type": "string"}, "detail": map[string]any{"type": "string"},
		},
	}}
	paths := map[string]map[string]any{}
	for _, rt := range routes {
		if paths[rt.path] == nil {
			paths[rt.path] = map[string]any{}
		}
		paths[rt.path][strings.ToLower(rt.method)] = operation(rt, schemas)
	}
	paths["/api/v1/query"] = map[string]any{"post": map[string]any{
		"summary": "Run a query; the rows are streamed. See docs/query.md",
		"requestBody": jsonContent(map[string]any{"type": "object", "required": []string{"query"}, "properties": map[string]any{
			"query": map[string]any{"type": "string"}, "start": map[string]any{"type": "string"}, "end": map[string]any{"type": "string"},
			"format": map[string]any{"type": "string", "enum": []string{"json", "ndjson", "csv", "parquet", "arrow"}},
		}}),
		"responses": map[string]any{"200": map[string]any{"description": "the rows"}, "default": problemResponse()},
	}}
	return map[string]any{
		"openapi":  "3.1.0",
		"info":     map[string]any{"title": "headgate", "version": version},
		"security": []any{map[string]any{"bearer": []any{}}},
		"paths":    paths,
		"components": map[string]any{
			"schemas":         schemas,
			"securitySchemes": map[string]any{"bearer": map[string]any{"type": "http", "scheme": "bearer"}},
		},
	}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func operation(rt route, schemas map[string]any) map[string]any {
	params := []any{}
	for _, m := range pathParameter.FindAllStringSubmatch(rt.path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, name := range rt.query {
		params = append(params, map[string]any{"name": name, "in": "query", "schema": map[string]any{"type": "string"}})
	}
	success := map[string]any{"description": "success"}
	if rt.answer != nil {
		success = jsonContent(schemaOf(reflect.TypeOf(rt.answer), schemas))
		success["description"] = "success"
	}
	op := map[string]any{
		"summary": rt.summary, "parameters": params,
		"responses": map[string]any{strconv.Itoa(max(rt.status, http.StatusOK)): success, "default": problemResponse()},
	}
	if rt.body != nil {
		op["requestBody"] = jsonContent(schemaOf(reflect.TypeOf(rt.body), schemas))
	}
	return op
}

func jsonContent(schema any) map[string]any {
	return map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": schema}}}
}

func problemResponse() map[string]any {
	return map[string]any{"description": "a problem", "content": map[string]any{
		"application/problem+json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/Problem"}},
	}}
}

// schemaOf returns the JSON Schema of a type; named structs go into schemas and are referred to.
func schemaOf(t reflect.Type, schemas map[string]any) map[string]any {
	switch t {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case reflect.TypeFor[optionalBytes]():
		return map[string]any{"type": []string{"integer", "null"}}
	case reflect.TypeFor[optionalLimits]():
		return map[string]any{"type": []string{"array", "null"}, "items": schemaOf(reflect.TypeFor[Limit](), schemas)}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := schemaOf(t.Elem(), schemas)
		if kind, ok := s["type"].(string); ok {
			s["type"] = []string{kind, "null"}
		}
		return s
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), schemas)}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Struct:
		if _, known := schemas[t.Name()]; !known {
			properties := map[string]any{}
			schemas[t.Name()] = map[string]any{"type": "object", "properties": properties}
			addFields(t, properties, schemas)
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

func addFields(t reflect.Type, properties, schemas map[string]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			addFields(f.Type, properties, schemas)
		case name != "" && name != "-":
			properties[name] = schemaOf(f.Type, schemas)
		}
	}
}
