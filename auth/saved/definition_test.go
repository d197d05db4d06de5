package saved

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
)

// plain takes texts, whole numbers and lists of texts, and every source but those with "bad" in them.
var plain = Languages{
	Check: func(s Source, _ []Value) error {
		if strings.Contains(s.Query, "bad") {
			return errors.New("bad text")
		}
		return nil
	},
	CheckValue: func(typ string, value json.RawMessage) error {
		var v any
		if typ != "string" && typ != "int" && typ != "list" {
			return errors.New("no such type")
		}
		if value == nil {
			return nil
		}
		if err := json.Unmarshal(value, &v); err != nil {
			return err
		}
		_, text := v.(string)
		_, number := v.(float64)
		_, list := v.([]any)
		if typ == "string" && !text || typ == "int" && !number || typ == "list" && !list {
			return errors.New("another type is wanted")
		}
		return nil
	},
	CheckRange: func(start, _ string) error {
		if start == "yesterday" {
			return errors.New("not a time")
		}
		return nil
	},
}

func raw(texts ...string) (out []json.RawMessage) {
	for _, s := range texts {
		out = append(out, json.RawMessage(s))
	}
	return out
}

func TestVariablesAreCheckedByTypeAndChoice(t *testing.T) {
	for name, c := range map[string]struct {
		v    Variable
		good bool
	}{
		"any text":                    {Variable{Name: "a", Type: "string"}, true},
		"a default":                   {Variable{Name: "_a1", Type: "int", Default: json.RawMessage(`5`)}, true},
		"null is no default":          {Variable{Name: "a", Type: "int", Default: json.RawMessage(`null`)}, true},
		"a choice":                    {Variable{Name: "a", Type: "string", Values: raw(`"x"`, ` "y" `), Default: json.RawMessage(`"y"`)}, true},
		"a choice of a list's items":  {Variable{Name: "a", Type: "list", Values: raw(`"x"`, `"y"`), Default: json.RawMessage(`["y", "x"]`)}, true},
		"no name":                     {Variable{Type: "string"}, false},
		"a digit first":               {Variable{Name: "1a", Type: "string"}, false},
		"a dash":                      {Variable{Name: "a-b", Type: "string"}, false},
		"a dollar":                    {Variable{Name: "$a", Type: "string"}, false},
		"a letter of another script":  {Variable{Name: "ä", Type: "string"}, false},
		"a long name":                 {Variable{Name: strings.Repeat("a", 65), Type: "string"}, false},
		"no type":                     {Variable{Name: "a"}, false},
		"another type":                {Variable{Name: "a", Type: "sql"}, false},
		"a default of another type":   {Variable{Name: "a", Type: "int", Default: json.RawMessage(`"5"`)}, false},
		"a default outside":           {Variable{Name: "a", Type: "string", Values: raw(`"x"`), Default: json.RawMessage(`"y"`)}, false},
		"an item outside":             {Variable{Name: "a", Type: "list", Values: raw(`"x"`), Default: json.RawMessage(`["x","y"]`)}, false},
		"a value of another type":     {Variable{Name: "a", Type: "int", Values: raw(`"x"`)}, false},
		"a long value":                {Variable{Name: "a", Type: "string", Default: json.RawMessage(`"` + strings.Repeat("x", 4<<10) + `"`)}, false},
		"a value that is no UTF-8":    {Variable{Name: "a", Type: "string", Default: json.RawMessage("\"\xff\"")}, false},
		"many values":                 {Variable{Name: "a", Type: "int", Values: slices.Repeat(raw(`1`), 101)}, false},
		"a description with controls": {Variable{Name: "a", Type: "int", Description: "a\x07"}, false},
	} {
		d := Definition{Variables: []Variable{c.v}}
		err := d.checkVariables(plain)
		if c.good != (err == nil) || err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run has a value for every variable: the caller's, which may be chosen, else the default; and none beside.
func TestARunBindsEveryVariableOnce(t *testing.T) {
	d := Definition{Variables: []Variable{
		{Name: "need", Type: "string"},
		{Name: "have", Type: "int", Default: json.RawMessage(`5`)},
		{Name: "pick", Type: "string", Values: raw(`"x"`, `"y"`), Default: json.RawMessage(`"x"`)},
		{Name: "some", Type: "list", Values: raw(`"x"`, `"y"`), Default: json.RawMessage(`["x"]`)},
	}}
	for _, c := range []struct {
		given, want string
		err         string
	}{
		{`{"need":"n"}`, `"n" 5 "x" ["x"]`, ""},
		{`{"need":"n","have":6,"pick":"y","some":["y","x","y"]}`, `"n" 6 "y" ["y","x","y"]`, ""},
		{`{"need":"n","have":null}`, `"n" 5 "x" ["x"]`, ""},
		{`{}`, "", "need: needs a value"},
		{`{"need":null}`, "", "need: needs a value"},
		{`{"need":5}`, "", "need: another type"},
		{`{"need":"n","pick":"z"}`, "", "pick: the value is not one of those"},
		{`{"need":"n","pick":"X"}`, "", "pick: the value is not one of those"},
		{`{"need":"n","some":["x","z"]}`, "", "some: the value is not one of those"},
		{`{"need":"n","other":1}`, "", `"other": there is none`},
	} {
		var given map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.given), &given); err != nil {
			t.Fatal(err)
		}
		bound, err := d.bind(plain, given)
		var got []string
		for i, v := range bound {
			if v.Name != d.Variables[i].Name || v.Type != d.Variables[i].Type {
				t.Errorf("%s: value %d is %+v", c.given, i, v)
			}
			got = append(got, string(v.Value))
		}
		if c.err == "" && (err != nil || strings.Join(got, " ") != c.want) || c.err != "" && (!errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("bind(%s) = %q, %v; want %q, %q", c.given, got, err, c.want, c.err)
		}
	}
}

func TestDefinitionsAreBoundedAndCompleted(t *testing.T) {
	d := Definition{Panels: []Panel{{Source: Source{Query: "logs"}}, {ID: "b", Source: Source{Language: OQL, Plan: json.RawMessage(`{}`)}}}}
	if err := d.check(Dashboard, plain); err != nil || d.Panels[0].ID != "panel-1" || d.Panels[0].Display != "table" || d.Panels[0].Language != OQL {
		t.Errorf("completed %+v, %v", d, err)
	}
	var panel *PanelError
	d.Panels[1] = Panel{ID: "b", Source: Source{Query: "bad"}}
	if err := d.check(Dashboard, plain); !errors.As(err, &panel) || panel.Panel != "b" {
		t.Errorf("check = %v, want an error of panel b", err)
	}
	large := Definition{Source: Source{Query: "logs"}}
	for range maxVariables {
		large.Variables = append(large.Variables, Variable{Name: "v" + strings.Repeat("x", len(large.Variables)), Type: "string",
			Values: slices.Repeat(raw(`"`+strings.Repeat("x", 1000)+`"`), 20)})
	}
	if err := large.check(Query, plain); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), "the definition takes") {
		t.Errorf("a definition of %d bytes: %v", len(large.text()), err)
	}
	for name, d := range map[string]Definition{
		"no source":               {},
		"text and plan":           {Source: Source{Query: "logs", Plan: json.RawMessage(`{}`)}},
		"SQL":                     {Source: Source{Language: "sql", Query: "SELECT 1"}},
		"a plan of PromQL":        {Source: Source{Language: PromQL, Plan: json.RawMessage(`{}`)}},
		"a plan that is no UTF-8": {Source: Source{Plan: json.RawMessage("{\"a\":\"\xff\"}")}},
		"a long text":             {Source: Source{Query: strings.Repeat("x", maxTextBytes+1)}},
		"a long start":            {Source: Source{Query: "logs"}, Start: strings.Repeat("1", maxRangeBytes+1)},
	} {
		if err := d.check(Query, plain); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	yesterday := Definition{Source: Source{Query: "logs"}, Start: "yesterday"}
	if err := yesterday.check(Query, plain); err == nil || err.Error() != "not a time" {
		t.Errorf("a start that is no time: %v", err)
	}
}
