package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// jsonRows returns what text becomes here, and what it becomes by way of pdata.
func jsonRows(t *testing.T, sig Signal, text string) (got, want rowSet) {
	t.Helper()
	converted, err := JSONToProto(sig, []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	_, got = decoded(t, sig, converted)
	req := newPdata(sig)
	if err := req.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatalf("pdata: %v\n%s", err, text)
	}
	proto, err := req.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	if want, err = reference(sig, proto, testStamp(t)); err != nil {
		t.Fatal(err)
	}
	want.billed = got.billed // what came twice is billed twice
	return got, want
}

// J12: a member that comes again adds to a list and to an object, as in protobuf and in pdata; of any other value the last
// counts. No record is lost by it: what would lose points is refused.
func TestJ12RepeatedMembersLoseNoRecord(t *testing.T) {
	log := func(name string) string { return `{"timeUnixNano":"1","severityText":"` + name + `"}` }
	point := `{"timeUnixNano":"1","asInt":"5"}`
	metric := func(members string) string {
		return `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m",` + members + `}]}]}]}`
	}
	logs := `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + log("a") + `],"logRecords":[` + log("b") + "," + log("c") + `],"logRecords":null}],
		"scopeLogs":[{"logRecords":[` + log("d") + `]}],"resource":{"attributes":[{"key":"k","value":{"stringValue":"1"}}]},
		"resource":{"attributes":[{"key":"l","value":{"stringValue":"2"}}],"attributes":[{"key":"m","value":{"stringValue":"3"}}]}}],
		"resourceLogs":[{"scopeLogs":[{"logRecords":[` + log("e") + `]}]}],"resourceLogs":[]}`
	got, want := jsonRows(t, Logs, logs)
	compareSets(t, got, want)
	if got.accepted != 5 {
		t.Errorf("%d of 5 log records were accepted", got.accepted)
	}
	got, want = jsonRows(t, Metrics, metric(`"gauge":{"dataPoints":[`+point+`],"dataPoints":[`+point+`]}`))
	compareSets(t, got, want)
	if got.accepted != 2 {
		t.Errorf("%d of 2 points were accepted", got.accepted)
	}
	for members, accepted := range map[string]int{ // where pdata keeps the last alone
		`"gauge":{"dataPoints":[` + point + `]},"gauge":{"dataPoints":[` + point + `]}`: 2,
		`"gauge":{"dataPoints":[` + point + `]},"sum":null`:                             1,
		`"gauge":{},"sum":{"dataPoints":[` + point + `]}`:                               1,
	} {
		body, err := JSONToProto(Metrics, []byte(metric(members)))
		if err != nil {
			t.Errorf("%s: %v", members, err)
			continue
		}
		if _, got := decoded(t, Metrics, body); got.accepted != accepted {
			t.Errorf("%s: %d points were accepted, want %d", members, got.accepted, accepted)
		}
	}
	for _, members := range []string{
		`"gauge":{"dataPoints":[` + point + `]},"sum":{"dataPoints":[` + point + `]}`, `"sum":{"dataPoints":[` + point + `]},"summary":{}`,
	} {
		if _, err := JSONToProto(Metrics, []byte(metric(members))); !errors.Is(err, ErrBadJSON) {
			t.Errorf("%s: %v, want ErrBadJSON", members, err)
		}
	}
}

// J12: random requests, members of which come again with the value that they have elsewhere, become the rows that pdata sees.
func TestJ12RandomRepeatedMembersAreWhatPdataMakesOfThem(t *testing.T) {
	repeated := 0
	for _, sig := range signals {
		for seed := range uint64(120) {
			g := newGen(seed)
			req := newPdata(sig)
			if err := req.UnmarshalProto(g.request(t, sig)); err != nil {
				t.Fatal(err)
			}
			text, err := req.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			r := repeater{gen: g, values: map[string][]string{}}
			r.collect(readTree(t, d), "")
			d = json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			twice := r.write(readTree(t, d), "")
			got, want := jsonRows(t, sig, twice)
			compareSets(t, got, want)
			if t.Failed() {
				t.Fatalf("%s, seed %d: %d bytes", sig, seed, len(twice))
			}
			repeated += r.repeated
		}
	}
	if repeated < 1000 {
		t.Errorf("%d members were repeated", repeated)
	}
}

// jsonTree is a value of JSON with its members in order.
type jsonTree struct {
	keys   []string // of an object
	values []jsonTree
	text   string // of what is neither object nor array
	kind   json.Delim
}

func readTree(t *testing.T, d *json.Decoder) (tree jsonTree) {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	open, nests := token.(json.Delim)
	if !nests {
		text, err := json.Marshal(token)
		if err != nil {
			t.Fatal(err)
		}
		return jsonTree{text: string(text)}
	}
	tree.kind = open
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			tree.keys = append(tree.keys, key.(string))
		}
		tree.values = append(tree.values, readTree(t, d))
	}
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// repeater writes trees whose members come again.
type repeater struct {
	gen
	values   map[string][]string // by the path of their keys
	repeated int
}

func (r *repeater) collect(tree jsonTree, path string) {
	for i, v := range tree.values {
		at := path
		if tree.kind == '{' {
			at += "." + tree.keys[i]
			r.values[at] = append(r.values[at], (&repeater{gen: r.gen}).write(v, at))
		}
		r.collect(v, at)
	}
}

// replaced are the members that pdata replaces where protobuf merges, and those whose value may be such a member.
var replaced = []string{"value", "body", "arrayValue", "kvlistValue", "gauge", "sum", "histogram", "exponentialHistogram", "summary"}

// write returns the text of a tree, in which a member in eight comes again if r has values.
func (r *repeater) write(tree jsonTree, path string) string {
	switch tree.kind {
	case 0:
		return tree.text
	case '[':
		var items []string
		for _, v := range tree.values {
			items = append(items, r.write(v, path))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var members []string
	for i, v := range tree.values {
		at := path + "." + tree.keys[i]
		members = append(members, fmt.Sprintf("%q:%s", tree.keys[i], r.write(v, at)))
		if other := r.values[at]; len(other) > 0 && r.one(8) && !slices.Contains(replaced, tree.keys[i]) {
			members = append(members, fmt.Sprintf("%q:%s", tree.keys[i], other[r.IntN(len(other))]))
			r.repeated++
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}
