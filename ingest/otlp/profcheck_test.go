package otlp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/storage/schema"
)

// What the profiling working group's checker looks at (open-telemetry/sig-profiling, profcheck at d2ab6d5), rule by rule. The module
// proxy does not have it, so its verdicts are written down; they were taken from it for these very requests.

// checkedRequest is a request that the checker finds nothing wrong with, to be changed. A field that is appended counts in place of
// the one before it, or is one more of a list.
type checkedRequest struct {
	tables  [7][][]byte // of the dictionary, by field number less one
	profile []byte
	samples [][]byte
	wrap    func(scope []byte) []byte // nil: as ever
}

const checkedTime = 1_788_000_000_000_000_000

// The tables of a dictionary.
const (
	inMappings = iota
	inLocations
	inFunctions
	inLinks
	inStrings
	inAttributes
	inStacks
)

func newCheckedRequest() *checkedRequest {
	r := &checkedRequest{
		profile: slices.Concat(message(1, uintField(1, 1), uintField(2, 2)), fixedField(3, checkedTime), uintField(4, 1000),
			message(5, uintField(1, 1), uintField(2, 2)), packed(11, 1)),
		samples: [][]byte{slices.Concat(uintField(1, 1), packed(2, 2), uintField(3, 1), packed(4, 7), fixedField(5, checkedTime+1))},
	}
	r.tables[inMappings] = [][]byte{nil, slices.Concat(uintField(1, 0x1000), uintField(2, 0x2000), uintField(4, 4), packed(5, 1))}
	r.tables[inLocations] = [][]byte{nil, slices.Concat(uintField(1, 1), uintField(2, 0x1010), message(3, uintField(1, 1), uintField(2, 10), uintField(3, 2)), packed(4, 1))}
	r.tables[inFunctions] = [][]byte{nil, slices.Concat(uintField(1, 3), uintField(2, 3), uintField(3, 4), uintField(4, 1))}
	r.tables[inLinks] = [][]byte{nil, slices.Concat(message(1, bytes.Repeat([]byte{1}, 16)), message(2, bytes.Repeat([]byte{2}, 8)))}
	for _, s := range []string{"", "cpu", "nanoseconds", "main", "main.go", "key", "other"} {
		r.tables[inStrings] = append(r.tables[inStrings], []byte(s))
	}
	r.tables[inAttributes] = [][]byte{nil, slices.Concat(uintField(1, 5), message(2, stringField(1, "v")), uintField(3, 2)), slices.Concat(uintField(1, 6), message(2, uintField(3, 5)))}
	r.tables[inStacks] = [][]byte{nil, packed(1, 1)}
	return r
}

func (r *checkedRequest) set(table, entry int, fields ...[]byte) {
	r.tables[table][entry] = slices.Concat(append([][]byte{r.tables[table][entry]}, fields...)...)
}

func (r *checkedRequest) sample(fields ...[]byte) {
	r.samples[0] = slices.Concat(append([][]byte{r.samples[0]}, fields...)...)
}

func (r *checkedRequest) body() []byte {
	var dictionary []byte
	for i, table := range r.tables {
		for _, entry := range table {
			dictionary = append(dictionary, message(protowire.Number(i+1), entry)...)
		}
	}
	p := r.profile
	for _, s := range r.samples {
		p = slices.Concat(p, message(2, s))
	}
	scope := message(1, message(2, message(2, p)))
	if r.wrap != nil {
		scope = r.wrap(scope)
	}
	return slices.Concat(scope, message(2, dictionary))
}

// The checker's verdicts.
const (
	valid   = "valid"
	invalid = "invalid"
	ifAsked = "invalid, if asked to look" // duplicates, orphans, the shape of samples
)

// none of a case is that the profile is taken.
var checkerCases = []struct {
	name    string
	checker string
	why     Reason
	change  func(r *checkedRequest)
}{
	{"nothing changed", valid, none, func(*checkedRequest) {}},
	{"no samples", ifAsked, none, func(r *checkedRequest) { r.samples = nil }}, // its stack is an orphan
	{"values alone", valid, none, func(r *checkedRequest) {
		r.samples[0] = slices.Concat(uintField(1, 1), packed(2, 2), uintField(3, 1), packed(4, 7))
	}},
	{"times alone", valid, none, func(r *checkedRequest) {
		r.samples[0] = slices.Concat(uintField(1, 1), packed(2, 2), uintField(3, 1), fixedField(5, checkedTime), fixedField(5, checkedTime+999))
	}},
	{"a mapping of no memory", valid, none, func(r *checkedRequest) { r.set(inMappings, 1, uintField(1, 0), uintField(2, 0)) }},
	{"a first attribute with an empty value", valid, none, func(r *checkedRequest) { r.set(inAttributes, 0, message(2)) }},

	// What refers beyond a table.
	{"profile attribute", invalid, InvalidIndex, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, packed(11, 3)) }},
	{"profile attribute, negative", invalid, InvalidIndex, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, packed(11, -1)) }},
	{"sample type", invalid, InvalidIndex, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, message(1, uintField(1, 9))) }},
	{"sample unit", invalid, InvalidIndex, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, message(1, uintField(2, 9))) }},
	{"period type", invalid, InvalidIndex, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, message(5, uintField(1, 9))) }},
	{"period unit", invalid, InvalidIndex, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, message(5, uintField(2, 9))) }},
	{"sample stack", invalid, InvalidIndex, func(r *checkedRequest) { r.sample(uintField(1, 2)) }},
	{"sample attribute", invalid, InvalidIndex, func(r *checkedRequest) { r.sample(packed(2, 3)) }},
	{"sample link", invalid, InvalidIndex, func(r *checkedRequest) { r.sample(uintField(3, 2)) }},
	{"mapping file", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inMappings, 1, uintField(4, 9)) }},
	{"mapping attribute", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inMappings, 1, packed(5, 3)) }},
	{"location mapping", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inLocations, 1, uintField(1, 2)) }},
	{"location attribute", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inLocations, 1, packed(4, 3)) }},
	{"line function", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inLocations, 1, message(3, uintField(1, 2))) }},
	{"function name", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inFunctions, 1, uintField(1, 9)) }},
	{"function system name", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inFunctions, 1, uintField(2, 9)) }},
	{"function file", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inFunctions, 1, uintField(3, 9)) }},
	{"attribute key", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inAttributes, 2, uintField(1, 9)) }},
	{"attribute unit", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inAttributes, 2, uintField(3, 9)) }},
	{"stack location", invalid, InvalidIndex, func(r *checkedRequest) { r.set(inStacks, 1, packed(1, 2)) }},
	{"of an entry that nothing uses", invalid, none, func(r *checkedRequest) { r.tables[inStacks] = append(r.tables[inStacks], packed(1, 9)) }},

	// The zero entries.
	{"no mappings", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inMappings] = r.tables[inMappings][1:] }},
	{"no locations", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inLocations] = r.tables[inLocations][1:] }},
	{"no functions", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inFunctions] = r.tables[inFunctions][1:] }},
	{"no links", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inLinks] = r.tables[inLinks][1:] }},
	{"no strings", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inStrings] = r.tables[inStrings][1:] }},
	{"no attributes", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inAttributes] = r.tables[inAttributes][1:] }},
	{"no stacks", invalid, InvalidDictionary, func(r *checkedRequest) { r.tables[inStacks] = r.tables[inStacks][1:] }},
	{"a first link of zero bytes", invalid, none, func(r *checkedRequest) { r.set(inLinks, 0, message(1, make([]byte, 16)), message(2, make([]byte, 8))) }},

	// Samples.
	{"neither values nor times", ifAsked, InvalidSample, func(r *checkedRequest) { r.samples[0] = uintField(1, 1) }},
	{"more values than times", ifAsked, InvalidSample, func(r *checkedRequest) { r.sample(packed(4, 8)) }},
	{"two values without times", ifAsked, none, func(r *checkedRequest) {
		r.samples[0] = slices.Concat(uintField(1, 1), packed(2, 2), uintField(3, 1), packed(4, 7, 8))
	}},
	{"samples of two shapes", ifAsked, none, func(r *checkedRequest) { r.samples = append(r.samples, packed(4, 7)) }},
	{"a time before the profile's", invalid, none, func(r *checkedRequest) { r.sample(packed(4, 8), fixedField(5, checkedTime-1)) }},
	{"a time at the profile's end", invalid, none, func(r *checkedRequest) { r.sample(packed(4, 8), fixedField(5, checkedTime+1000)) }},

	// What stands there is odd.
	{"a key twice on a profile", invalid, none, func(r *checkedRequest) { r.profile = slices.Concat(r.profile, packed(11, 1)) }},
	{"a key twice on a sample", invalid, none, func(r *checkedRequest) { r.sample(packed(2, 2)) }},
	{"a key twice on a mapping", invalid, none, func(r *checkedRequest) { r.set(inMappings, 1, packed(5, 1)) }},
	{"a key twice on a location", invalid, none, func(r *checkedRequest) { r.set(inLocations, 1, packed(4, 1)) }},
	{"memory that ends before it starts", invalid, none, func(r *checkedRequest) { r.set(inMappings, 1, uintField(2, 0x0fff)) }},
	{"a negative line", invalid, none, func(r *checkedRequest) { r.set(inLocations, 1, message(3, uintField(1, 1), uintField(2, 1<<64-1))) }},
	{"a negative column", invalid, none, func(r *checkedRequest) { r.set(inLocations, 1, message(3, uintField(1, 1), uintField(3, 1<<64-1))) }},
	{"a negative start line", invalid, none, func(r *checkedRequest) { r.set(inFunctions, 1, uintField(4, 1<<64-1)) }},
	{"a short trace id", invalid, none, func(r *checkedRequest) { r.set(inLinks, 1, message(1, []byte{1})) }},
	{"a short span id", invalid, none, func(r *checkedRequest) { r.set(inLinks, 1, message(2, []byte{1})) }},
	{"a string twice", ifAsked, none, func(r *checkedRequest) { r.tables[inStrings] = append(r.tables[inStrings], []byte("cpu")) }},
	{"a mapping twice", ifAsked, none, func(r *checkedRequest) { r.tables[inMappings] = append(r.tables[inMappings], r.tables[inMappings][1]) }},
	{"an orphan", ifAsked, none, func(r *checkedRequest) { r.tables[inStacks] = append(r.tables[inStacks], packed(1, 1)) }},
}

// TestP9TheCheckersRules: what the checker calls valid is taken, and so is what it calls invalid wherever a row can say what was sent.
func TestP9TheCheckersRules(t *testing.T) {
	for _, c := range checkerCases {
		r := newCheckedRequest()
		c.change(r)
		res, set := decoded(t, Profiles, r.body())
		rows := len(set.tables[schema.Profiles])
		switch {
		case c.why == none && (res.Accepted != 1 || res.Rejected != 0 || rows != max(1, len(r.samples))):
			t.Errorf("%s: %d accepted in %d rows: %q", c.name, res.Accepted, rows, res.Message)
		case c.why != none && (res.Accepted != 0 || res.Reasons[c.why] != 1 || rows != 0):
			t.Errorf("%s: %d accepted: %q, want %s", c.name, res.Accepted, res.Message, c.why)
		case c.why != none && c.checker == valid:
			t.Errorf("%s: the checker takes it", c.name)
		}
	}
}

// randomChecked is a request with larger tables and more samples, valid to the checker unless it looks for orphans and duplicates.
func randomChecked(seed uint64) *checkedRequest {
	rnd := rand.New(rand.NewPCG(seed, 9))
	r := newCheckedRequest()
	index := func(table int) uint64 { return rnd.Uint64N(uint64(len(r.tables[table]))) }
	add := func(table int, fields ...[]byte) { r.tables[table] = append(r.tables[table], slices.Concat(fields...)) }
	for range rnd.IntN(20) {
		add(inStrings, fmt.Append(nil, "text ", rnd.IntN(30)))
		add(inAttributes, uintField(1, index(inStrings)), message(2, uintField(3, rnd.Uint64())), uintField(3, index(inStrings)))
		add(inFunctions, uintField(1, index(inStrings)), uintField(3, index(inStrings)), uintField(4, rnd.Uint64N(1<<40)))
		add(inMappings, uintField(1, rnd.Uint64N(1<<40)), uintField(2, 1<<40+rnd.Uint64N(1<<40)), uintField(4, index(inStrings)))
		line := message(3, uintField(1, index(inFunctions)), uintField(2, rnd.Uint64N(1<<20)))
		add(inLocations, uintField(1, index(inMappings)), uintField(2, rnd.Uint64()), bytes.Repeat(line, rnd.IntN(3)), packed(4, int64(index(inAttributes))))
		add(inStacks, packed(1, int64(index(inLocations)), int64(index(inLocations))))
		r.samples = append(r.samples, slices.Concat(uintField(1, index(inStacks)), packed(2, int64(index(inAttributes))), uintField(3, index(inLinks)),
			packed(4, int64(rnd.Uint64())), fixedField(5, checkedTime+rnd.Uint64N(1000))))
	}
	return r
}

// TestP9WhatTheCheckerCallsValidIsTaken, of any size; the checker has seen these.
func TestP9WhatTheCheckerCallsValidIsTaken(t *testing.T) {
	for seed := range uint64(300) {
		r := randomChecked(seed)
		res, set := decoded(t, Profiles, r.body())
		if rows := len(set.tables[schema.Profiles]); res.Accepted != 1 || rows != len(r.samples) {
			t.Fatalf("seed %d: %d accepted, %d rows for %d samples: %q", seed, res.Accepted, rows, len(r.samples), res.Message)
		}
	}
}

// TestP9EmptyEnvelopesAreNoError, which the checker calls them: OTLP has receivers succeed (D16).
func TestP9EmptyEnvelopesAreNoError(t *testing.T) {
	for name, envelope := range map[string][]byte{"no resources": nil, "no scopes": message(1), "no profiles": message(1, message(2))} {
		r := newCheckedRequest()
		r.wrap = func([]byte) []byte { return envelope }
		if res, _ := decoded(t, Profiles, r.body()); res.Accepted != 0 || res.Rejected != 0 {
			t.Errorf("%s: %d accepted, %d rejected: %q", name, res.Accepted, res.Rejected, res.Message)
		}
	}
}
