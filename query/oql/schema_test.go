package oql

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSchemaNamesWhatIsTaken: the JSON Schema of the guide lists the sources, operators, aggregations and members that the JSON
// form has.
func TestSchemaNamesWhatIsTaken(t *testing.T) {
	guide, err := os.ReadFile("../../docs/oql.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- schema -->\n```json\n(.*?)\n```").FindSubmatch(guide)
	if m == nil {
		t.Fatal("the guide has no schema")
	}
	var schema struct {
		Properties map[string]json.RawMessage
		Defs       map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(m[1], &schema); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseJSON([]byte(`{"no": 1}`), nil); err == nil || !strings.HasSuffix(err.Error(), "the members here are from, where, aggregate, by, select, order, limit") ||
		len(schema.Properties) != 7 {
		t.Errorf("members of the schema %v, of the form: %v", slices.Sorted(maps.Keys(schema.Properties)), err)
	}
	list := func(names []string) string {
		b, err := json.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.NewReplacer("\\u003c", "<", "\\u003e", ">").Replace(string(b)), ",", ", ")
	}
	for where, want := range map[string]string{
		"from":      list(sourceNames()),
		"aggregate": list(aggNames()),
	} {
		if !strings.Contains(string(schema.Properties[where]), `{"enum": `+want+`}`) {
			t.Errorf("%s of the schema is not %s", where, want)
		}
	}
	exprs := string(schema.Defs["expr"])
	if want := list(slices.Sorted(maps.Keys(jsonOps))); !strings.Contains(exprs, `"op": {"enum": `+want+`}`) {
		t.Errorf("the operators of the schema are not %s", want)
	}
	for _, form := range exprForms {
		if !strings.Contains(exprs+string(schema.Defs["variable"]), `"properties": {"`+form+`"`) && !strings.Contains(exprs, `"`+form+`": {"enum"`) {
			t.Errorf("the schema has no expression with %s", form)
		}
	}
}
