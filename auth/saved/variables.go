package saved

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headgate-io/headgate/auth"
)

const listType = "list"

// checkVariables completes and checks what the definition says of its variables.
func (d *Definition) checkVariables(l Languages) error {
	if len(d.Variables) > maxVariables {
		return invalid("%d variables, want at most %d", len(d.Variables), maxVariables)
	}
	seen := map[string]bool{}
	for i := range d.Variables {
		v := &d.Variables[i]
		switch {
		case !isVariableName(v.Name):
			return invalid("variable name %.80q: want 1 to %d of a-z A-Z 0-9 _, a letter or _ first", v.Name, maxIDBytes)
		case seen[v.Name]:
			return invalid("variable %s: is there twice", v.Name)
		case len(v.Values) > maxChoices:
			return invalid("variable %s: %d values, want at most %d", v.Name, len(v.Values), maxChoices)
		}
		seen[v.Name] = true
		if err := checkNote(v.Description); err != nil {
			return err
		}
		for j := range v.Values {
			choice := v.Values[j]
			if v.Type == listType {
				choice = slices.Concat([]byte("["), choice, []byte("]"))
			}
			if err := v.checkType(l, choice); err != nil {
				return err
			}
			v.Values[j] = compact(v.Values[j])
		}
		if len(v.Values) == 0 {
			if err := l.CheckValue(v.Type, nil); err != nil {
				return invalid("variable %s: %v", v.Name, err)
			}
		}
		if v.Default = orNil(v.Default); v.Default != nil {
			if err := v.check(l, v.Default); err != nil {
				return err
			}
			v.Default = compact(v.Default)
		}
	}
	return nil
}

// check returns what is wrong with a value that is chosen for v.
func (v *Variable) check(l Languages, value json.RawMessage) error {
	if err := v.checkType(l, value); err != nil || len(v.Values) == 0 {
		return err
	}
	chosen := []json.RawMessage{value}
	if v.Type == listType {
		chosen = nil // not decoded into: that would write over value
		if err := json.Unmarshal(value, &chosen); err != nil {
			return invalid("variable %s: %v", v.Name, err)
		}
	}
	for _, c := range chosen {
		c = compact(c)
		if !slices.ContainsFunc(v.Values, func(known json.RawMessage) bool { return bytes.Equal(known, c) }) {
			return invalid("variable %s: the value is not one of those that may be chosen", v.Name)
		}
	}
	return nil
}

func (v *Variable) checkType(l Languages, value json.RawMessage) error {
	if len(value) > maxValueBytes || !utf8.Valid(value) {
		return invalid("variable %s: want values of at most %d bytes of UTF-8", v.Name, maxValueBytes)
	}
	if err := l.CheckValue(v.Type, value); err != nil {
		return invalid("variable %s: %v", v.Name, err)
	}
	return nil
}

// bind returns the values of a run: those that are given, and the defaults of the rest. Errors: auth.ErrInvalid for values that are
// missing, not of their type, not to be chosen, or of no variable.
func (d *Definition) bind(l Languages, given map[string]json.RawMessage) ([]Value, error) {
	out := make([]Value, 0, len(d.Variables))
	for i := range d.Variables {
		v := &d.Variables[i]
		value := orNil(given[v.Name])
		switch {
		case value == nil && v.Default == nil:
			return nil, invalid("variable %s: needs a value", v.Name)
		case value == nil:
			value = v.Default
		default:
			if err := v.check(l, value); err != nil {
				return nil, err
			}
		}
		out = append(out, Value{v.Name, v.Type, value})
	}
	for name := range given {
		if !slices.ContainsFunc(d.Variables, func(v Variable) bool { return v.Name == name }) {
			return nil, invalid("variable %.80q: there is none of that name", name)
		}
	}
	return out, nil
}

// errMissing is what a thing out of sight is answered with.
func errMissing(what, id string) error {
	return &auth.Error{Code: auth.ErrNotFound.Code, Text: "no " + what + " " + quote(id)}
}

func isVariableName(s string) bool {
	return isWord(s, maxIDBytes) && !strings.Contains(s, "-") && (s[0] < '0' || s[0] > '9')
}

// orNil is raw, or nil for the JSON null.
func orNil(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// compact returns JSON without blanks. raw has been read as JSON before.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw
	}
	return b.Bytes()
}
