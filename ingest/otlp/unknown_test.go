package otlp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// withUnknown gives each message of b but attributes and values a field that is not known, and counts them.
func withUnknown(b []byte, m msg) (out []byte, n int) {
	parts, ok := split(b)
	if !ok {
		panic("BUG: malformed message")
	}
	for i, p := range parts {
		switch sub := otlpSchema[m][p.num].sub; sub {
		case leaf, mKeyValue, mAnyValue:
		default:
			body, more := withUnknown(p.body, sub)
			parts[i], n = p.withBody(body), n+more
		}
	}
	return protowire.AppendVarint(protowire.AppendTag(join(parts), 15_000, protowire.VarintType), 1), n + 1
}

func TestD1UnknownFieldsAreCounted(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for _, sig := range signals {
		for seed := range uint64(150) {
			body := newGen(seed).request(t, sig)
			strange, want := withUnknown(body, mRequestLogs+msg(sig))
			for _, c := range []struct {
				body []byte
				want int
			}{{body, 0}, {strange, want}} {
				res, err := d.Decode(sig, c.body, st)
				if err != nil {
					t.Fatalf("%s, seed %d: %v", sig, seed, err)
				}
				if res.UnknownFields != c.want {
					t.Fatalf("%s, seed %d: %d unknown fields, want %d", sig, seed, res.UnknownFields, c.want)
				}
			}
		}
	}
}

// A resource whose attributes reject its records is read a second time, before them.
func TestD1UnknownFieldsOfACarefulAttemptAreCountedOnce(t *testing.T) {
	pair := func(key string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
	}
	field := func(dst []byte, num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), b)
	}
	var resource []byte
	for range maxItems + 1 {
		resource = field(resource, 1, pair("k"))
	}
	scopes := field(nil, 2, field(nil, 2, nil)) // a ScopeLogs of an empty record
	strange, want := withUnknown(field(nil, 1, append(scopes, field(nil, 1, resource)...)), mRequestLogs)
	res, err := NewDecoder(Limits{}).Decode(Logs, strange, testStamp(t))
	if err != nil || res.Rejected != 1 || res.UnknownFields != want {
		t.Errorf("%v, %d rejected, %d unknown fields, want %d", err, res.Rejected, res.UnknownFields, want)
	}
}

// withUnknownOf is withUnknown by the fields that the messages have in JSON.
func withUnknownOf(b []byte, m jsonMsg) (out []byte, n int) {
	parts, ok := split(b)
	if !ok {
		panic("BUG: malformed message")
	}
	for i, p := range parts {
		for _, f := range jsonSchema[m] {
			if f.num != uint64(p.num) || f.kind != jsonMessage || f.message == jsonKeyValue || f.message == jsonAnyValue {
				continue
			}
			body, more := withUnknownOf(p.body, f.message)
			parts[i], n = p.withBody(body), n+more
		}
	}
	return protowire.AppendVarint(protowire.AppendTag(join(parts), 15_000, protowire.VarintType), 1), n + 1
}

func TestD1UnknownFieldsOfProfilesAreCounted(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for seed := range uint64(150) {
		body := newGen(seed).profilesRequest(t, false)
		strange, want := withUnknownOf(body, jsonRequest+jsonMsg(Profiles))
		for _, c := range []struct {
			body []byte
			want int
		}{{body, 0}, {strange, want}} {
			res, err := d.Decode(Profiles, c.body, st)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if res.UnknownFields != c.want {
				t.Fatalf("seed %d: %d unknown fields, want %d", seed, res.UnknownFields, c.want)
			}
		}
	}
}

// Every object of a request in JSON gets a member that is not known, whose own members do not count.
func TestD1UnknownMembersOfJSONAreCounted(t *testing.T) {
	var with func(members []string, tree jsonTree) (text string, objects int)
	with = func(members []string, tree jsonTree) (string, int) {
		if tree.kind == 0 {
			return tree.text, 0
		}
		var items []string
		n := 0
		for i, v := range tree.values {
			text, more := with(members, v)
			if n += more; tree.kind == '{' {
				text = fmt.Sprintf("%q:%s", tree.keys[i], text)
			}
			items = append(items, text)
		}
		if tree.kind == '[' {
			return "[" + strings.Join(items, ",") + "]", n
		}
		return "{" + strings.Join(append(items, members...), ",") + "}", n + 1
	}
	for _, sig := range signals {
		for seed := range uint64(60) {
			req := newPdata(sig)
			if err := req.UnmarshalProto(newGen(seed).request(t, sig)); err != nil {
				t.Fatal(err)
			}
			text, err := req.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			tree := readTree(t, d)
			known, _ := with(nil, tree)
			newer, want := with([]string{`"newer_field":{"a":[{"b":{}}]}`}, tree)
			plain, unknown, err := (Limits{}).AppendJSON(nil, sig, JSONSource{Text: []byte(known)})
			if err != nil || unknown != 0 {
				t.Fatalf("%s, seed %d: %v, %d unknown members, want none", sig, seed, err, unknown)
			}
			got, unknown, err := (Limits{}).AppendJSON(nil, sig, JSONSource{Text: []byte(newer)})
			if err != nil || unknown != want || !bytes.Equal(got, plain) {
				t.Fatalf("%s, seed %d: %v, %d unknown members, want %d; the same otherwise: %v", sig, seed, err, unknown, want, bytes.Equal(got, plain))
			}
		}
	}
}
