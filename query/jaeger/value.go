package jaeger

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// attributes are a map as a row has it: in stored order, values as text.
type attributes struct {
	keys, values []string
	kinds        string
}

// get returns the text of key's value, and whether the key is there.
func (a *attributes) get(key string) (string, bool) {
	for i, k := range a.keys {
		if k == key {
			return a.values[i], true
		}
	}
	return "", false
}

// each calls f for each pair with its kind.
func (a *attributes) each(f func(key, text string, k kind)) {
	list := parseKinds(a.kinds)
	for i, key := range a.keys {
		if i < len(a.values) {
			f(key, a.values[i], list.at(i))
		}
	}
}

// copyTo adds the attributes to m as OTLP values.
func (a *attributes) copyTo(m pcommon.Map) {
	m.EnsureCapacity(len(a.keys))
	a.each(func(key, text string, k kind) { setValue(m.PutEmpty(key), text, k) })
}

// setValue makes v of its text and kind. A text that its kind cannot have stays a string: nothing is lost and no row is
// unreadable.
func setValue(v pcommon.Value, text string, k kind) {
	switch k.letter {
	case kindEmpty:
	case kindBool:
		v.SetBool(text == "true")
	case kindInt:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			v.SetInt(n)
			return
		}
		v.SetStr(text)
	case kindDouble:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			v.SetDouble(f)
			return
		}
		v.SetStr(text)
	case kindBytes:
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			v.SetEmptyBytes().FromRaw(b)
			return
		}
		v.SetStr(text)
	case kindArray, kindMap:
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		whole := pcommon.NewValueEmpty()
		if setJSON(whole, dec, k, 0) != nil || dec.More() {
			v.SetStr(text)
			return
		}
		whole.MoveTo(v)
	default:
		v.SetStr(text)
	}
}

var errDeep = errors.New("nested too deep")

// setJSON makes v of the next value of dec, which stands below so many brackets.
func setJSON(v pcommon.Value, dec *json.Decoder, k kind, depth int) error {
	tok, err := dec.Token()
	switch {
	case err != nil:
		return err
	case depth > maxKindDepth:
		return errDeep
	}
	switch t := tok.(type) {
	case json.Delim:
		return setNested(v, dec, k.inner, t == '{', depth+1)
	case nil:
	case bool:
		v.SetBool(t)
	case json.Number:
		letter := k.letter
		if letter != kindInt && letter != kindDouble {
			letter = kindDouble
			if _, err := t.Int64(); err == nil {
				letter = kindInt
			}
		}
		setValue(v, t.String(), kind{letter: letter})
	case string:
		if k.letter == kindArray || k.letter == kindMap {
			k = kind{letter: kindString}
		}
		setValue(v, t, k)
	}
	return nil
}

// setNested makes an array or key-value list of what follows its opening bracket.
func setNested(v pcommon.Value, dec *json.Decoder, inner kinds, isMap bool, depth int) error {
	var list pcommon.Slice
	var pairs pcommon.Map
	if isMap {
		pairs = v.SetEmptyMap()
	} else {
		list = v.SetEmptySlice()
	}
	for i := 0; dec.More(); i++ {
		var member pcommon.Value
		if isMap {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string) // a decoder returns members' names as strings
			member = pairs.PutEmpty(name)
		} else {
			member = list.AppendEmpty()
		}
		if err := setJSON(member, dec, inner.at(i), depth); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}
