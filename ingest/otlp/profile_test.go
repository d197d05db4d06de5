package otlp

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/storage/schema"
)

// Requests of profiles put together by hand. zeroTables is a dictionary of zero entries alone.

var zeroTables = slices.Concat(message(1), message(2), message(3), message(4), message(5), message(6), message(7))

func packed(num protowire.Number, list ...int64) []byte {
	var b []byte
	for _, v := range list {
		b = protowire.AppendVarint(b, uint64(v))
	}
	return message(num, b)
}

// sampleOf is a sample with one value.
func sampleOf(fields ...[]byte) []byte { return message(2, append(fields, packed(4, 7))...) }

func oneProfile(fields ...[]byte) []byte { return message(2, fields...) }

func profilesOf(dictionary []byte, profiles ...[]byte) []byte {
	return slices.Concat(message(1, message(2, profiles...)), message(2, dictionary))
}

var goodProfile = oneProfile(fixedField(3, 1788000000000000000), sampleOf())

// wantRejected decodes a good profile and a bad one, both of the same dictionary.
func wantRejected(t *testing.T, dictionary, bad []byte, why Reason) {
	t.Helper()
	res, set := decoded(t, Profiles, profilesOf(dictionary, goodProfile, bad))
	if res.Accepted != 1 || res.Rejected != 1 || res.Reasons[why] != 1 || len(set.tables[schema.Profiles]) != 1 {
		t.Errorf("%d accepted, %d rejected: %q, want 1 and 1: %s", res.Accepted, res.Rejected, res.Message, why)
	}
}

func TestP2DictionaryMustBeginWithZeroEntries(t *testing.T) {
	tables := [][]byte{message(1), message(2), message(3), message(4), message(5), message(6), message(7)}
	cases := map[string][]byte{"empty": nil}
	for i := range tables {
		cases["without table "+string(rune('1'+i))] = slices.Concat(slices.Delete(slices.Clone(tables), i, i+1)...)
	}
	for i, first := range [][]byte{
		uintField(1, 9), uintField(2, 9), uintField(4, 9), message(1, bytes.Repeat([]byte{1}, 16)), []byte("a"),
		message(2, stringField(1, "")), packed(1, 0),
	} {
		cases["first entry set in table "+string(rune('1'+i))] = slices.Concat(message(protowire.Number(i+1), first), zeroTables)
	}
	for name, dictionary := range cases {
		res, set := decoded(t, Profiles, profilesOf(dictionary, goodProfile, goodProfile))
		if res.Accepted != 0 || res.Reasons[InvalidDictionary] != 2 || len(set.tables) != 0 {
			t.Errorf("%s: %d accepted: %q", name, res.Accepted, res.Message)
		}
	}
	res, _ := decoded(t, Profiles, message(1, message(2, goodProfile)))
	if res.Accepted != 0 || res.Reasons[InvalidDictionary] != 1 {
		t.Errorf("no dictionary: %d accepted: %q", res.Accepted, res.Message)
	}
	zeroLink := message(4, message(1, make([]byte, 16)), message(2, make([]byte, 8)))
	if res, _ := decoded(t, Profiles, profilesOf(slices.Concat(zeroLink, zeroTables), goodProfile)); res.Accepted != 1 {
		t.Errorf("first link of zero bytes: %q", res.Message)
	}
}

func TestP3IndicesOutOfRangeRejectTheirProfileAlone(t *testing.T) {
	for _, i := range []int64{-1, 2, 3, math.MaxInt32, math.MinInt32} {
		index := func(num protowire.Number) []byte { return uintField(num, uint64(i)) }
		// Entry 1 of a table is the one that is bad.
		entry := func(table protowire.Number, fields ...[]byte) []byte {
			return slices.Concat(zeroTables, message(table, fields...))
		}
		through := func(d []byte, path ...[]byte) []byte { return slices.Concat(append([][]byte{d}, path...)...) }
		mapping1, location1 := message(2, uintField(1, 1)), message(7, packed(1, 1))
		line1, attr1 := message(2, message(3, uintField(1, 1))), message(2, packed(4, 1))
		onStack := oneProfile(sampleOf(uintField(1, 1)))
		for name, c := range map[string]struct{ dictionary, profile []byte }{
			"sample stack":       {zeroTables, oneProfile(sampleOf(index(1)))},
			"sample attribute":   {zeroTables, oneProfile(sampleOf(packed(2, 0, i)))},
			"unpacked attribute": {zeroTables, oneProfile(sampleOf(index(2)))},
			"sample link":        {zeroTables, oneProfile(sampleOf(index(3)))},
			"second sample":      {zeroTables, oneProfile(sampleOf(), sampleOf(index(3)))},
			"profile attribute":  {zeroTables, oneProfile(sampleOf(), packed(11, i))},
			"sample type":        {zeroTables, oneProfile(sampleOf(), message(1, index(1)))},
			"sample unit":        {zeroTables, oneProfile(sampleOf(), message(1, index(2)))},
			"period type":        {zeroTables, oneProfile(sampleOf(), message(5, index(1)))},
			"period unit":        {zeroTables, oneProfile(sampleOf(), message(5, index(2)))},
			"stack location":     {entry(7, packed(1, i)), onStack},
			"location mapping":   {through(entry(2, index(1)), location1), onStack},
			"location attribute": {through(entry(2, packed(4, i)), location1), onStack},
			"line function":      {through(entry(2, message(3, index(1))), location1), onStack},
			"mapping file":       {through(entry(1, index(4)), mapping1, location1), onStack},
			"mapping attribute":  {through(entry(1, packed(5, i)), mapping1, location1), onStack},
			"function name":      {through(entry(3, index(1)), line1, location1), onStack},
			"function system":    {through(entry(3, index(2)), line1, location1), onStack},
			"function file":      {through(entry(3, index(3)), line1, location1), onStack},
			"attribute key":      {through(entry(6, index(1)), attr1, location1), onStack},
			"attribute unit":     {through(entry(6, index(3)), attr1, location1), onStack},
			"attribute text":     {through(entry(6, message(2, index(8))), attr1, location1), onStack},
			"attribute in list":  {entry(6, message(2, message(5, message(1, index(8))))), oneProfile(sampleOf(packed(2, 1)))},
		} {
			t.Run(name, func(t *testing.T) { wantRejected(t, c.dictionary, c.profile, InvalidIndex) })
		}
		for name, resource := range map[string][]byte{
			"resource key":   message(1, index(3), message(2, stringField(1, "x"))),
			"resource value": message(1, stringField(1, "k"), message(2, index(8))),
		} {
			body := slices.Concat(message(1, message(1, resource), message(2, goodProfile)), message(1, message(2, goodProfile)), message(2, zeroTables))
			res, _ := decoded(t, Profiles, body)
			if res.Accepted != 1 || res.Reasons[InvalidIndex] != 1 {
				t.Errorf("%s %d: %d accepted: %q", name, i, res.Accepted, res.Message)
			}
		}
	}
}

// A key by reference is as long as a literal one may be, whether the attribute stands in the dictionary or not.
func TestX12TooLongKeyByReferenceRejectsItsProfiles(t *testing.T) {
	for length, accepted := range map[int]int{maxKeyBytes: 2, maxKeyBytes + 1: 1} {
		key := message(5, []byte(strings.Repeat("k", length)))
		attr := message(6, uintField(1, 1), message(2, stringField(1, "v")))
		user := oneProfile(sampleOf(packed(2, 1)))
		res, _ := decoded(t, Profiles, profilesOf(slices.Concat(zeroTables, key, attr), goodProfile, user))
		if res.Accepted != accepted || res.Reasons[KeyTooLong] != 2-accepted {
			t.Errorf("dictionary: %d accepted with a key of %d bytes: %q", res.Accepted, length, res.Message)
		}
		resource := message(1, message(1, uintField(3, 1), message(2, stringField(1, "v"))))
		body := slices.Concat(message(1, resource, message(2, goodProfile)), message(1, message(2, goodProfile)), message(2, zeroTables, key))
		if res, _ := decoded(t, Profiles, body); res.Accepted != accepted || res.Reasons[KeyTooLong] != 2-accepted {
			t.Errorf("resource: %d accepted with a key of %d bytes: %q", res.Accepted, length, res.Message)
		}
	}
}

func TestP4ReferencesAreResolvedEverywhere(t *testing.T) {
	texts := slices.Concat(stringField(5, "service.name"), stringField(5, "checkout"), stringField(5, "weight"), stringField(5, "By"))
	dictionary := slices.Concat(zeroTables, texts,
		message(6, uintField(1, 3), message(2, uintField(8, 2)), uintField(3, 4)), // weight = checkout, in By
		message(6, uintField(1, 3), message(2, uintField(3, 5)), uintField(3, 4)), // weight = 5
		message(6, uintField(1, 2), message(2, message(5, message(1, uintField(8, 1))))))
	resource := message(1, message(1, uintField(3, 1), message(2, uintField(8, 2))))
	body := slices.Concat(message(1, resource, message(2, oneProfile(sampleOf(packed(2, 1, 2, 3, 0))))), message(2, dictionary))
	_, set := decoded(t, Profiles, body)
	r := set.tables[schema.Profiles][0]
	for column, want := range map[string]string{
		"ServiceName": "checkout", "ResourceAttributes": `{"service.name":"checkout" "tenant.id":"acme" }`,
		"Attributes": `{"checkout":"[\"service.name\"]" "weight":"5" }`, "AttributeUnits": `{"weight":"By" }`,
	} {
		if r[column] != want {
			t.Errorf("%s = %s, want %s", column, r[column], want)
		}
	}
}

func TestP5SamplesHaveValuesOrTimesOrAsManyOfBoth(t *testing.T) {
	times := func(n int) []byte { return message(5, make([]byte, 8*n)) }
	for name, sample := range map[string][]byte{
		"neither":       message(2),
		"more values":   message(2, packed(4, 1, 2), times(1)),
		"more times":    message(2, packed(4, 1), times(2)),
		"attribute":     message(2, packed(2, 0)),
		"empty lists":   message(2, packed(4), times(0)),
		"after a good":  slices.Concat(sampleOf(), message(2)),
		"before a good": slices.Concat(message(2), sampleOf()),
	} {
		t.Run(name, func(t *testing.T) { wantRejected(t, zeroTables, oneProfile(sample), InvalidSample) })
	}
	_, set := decoded(t, Profiles, profilesOf(zeroTables, oneProfile(message(2, times(3)))))
	if got := set.tables[schema.Profiles][0]["Values"]; got != "[1 1 1]" {
		t.Errorf("values of times alone: %s", got)
	}
}

func TestP6PayloadIsOnTheFirstRowAlone(t *testing.T) {
	p := oneProfile(stringField(9, "pprof"), message(10, []byte("raw\xff")), sampleOf(), sampleOf(), message(7, bytes.Repeat([]byte{0xab}, 16)))
	_, set := decoded(t, Profiles, profilesOf(zeroTables, p, oneProfile(message(7, []byte("short")))))
	rows := set.tables[schema.Profiles]
	if len(rows) != 3 || rows[0]["OriginalPayload"] != "raw\xff" || rows[1]["OriginalPayload"] != "" || rows[1]["SampleIndex"] != "1" {
		t.Fatalf("rows %v", rows)
	}
	if rows[1]["OriginalPayloadFormat"] != "pprof" || rows[1]["ProfileId"] != strings.Repeat("ab", 16) {
		t.Errorf("row %v", rows[1])
	}
	// An id of another length names nothing; a profile without samples is a row without values.
	if rows[2]["ProfileId"] != "" || rows[2]["Values"] != "[]" || rows[2]["TimestampSource"] != "received" {
		t.Errorf("row %v", rows[2])
	}
}

func TestP7OtherVersionsAreRefusedByName(t *testing.T) {
	for name, profile := range map[string][]byte{
		"1.9: values before attributes":  oneProfile(message(2, uintField(1, 0), packed(2, 1200, 3))),
		"1.9: attributes":                oneProfile(message(2, packed(2, 1), packed(3, 0))),
		"1.8: profile id":                oneProfile(message(8, make([]byte, 16)), sampleOf()),
		"1.7: locations":                 oneProfile(packed(3, 0), sampleOf()),
		"1.7: values":                    oneProfile(message(2, uintField(1, 0), uintField(2, 1), packed(3, 1))),
		"1.7: times as varints, in list": oneProfile(message(2, packed(4, 1), uintField(5, 1))),
		"1.5: tables in the profile":     oneProfile(message(3), message(4), sampleOf()),
		"1.5: duration":                  oneProfile(message(5, uintField(1, 0)), message(6), sampleOf()),
	} {
		for _, dictionary := range [][]byte{zeroTables, nil} {
			_, err := NewDecoder(Limits{}).Decode(Profiles, profilesOf(dictionary, profile), testStamp(t))
			if !errors.Is(err, errProfilesVersion) || !strings.Contains(err.Error(), "profiles proto version") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	old := slices.Concat(zeroTables, message(6, stringField(1, "key"))) // 1.7: a table of KeyValue
	if _, err := NewDecoder(Limits{}).Decode(Profiles, profilesOf(old, goodProfile), testStamp(t)); !errors.Is(err, errProfilesVersion) {
		t.Errorf("1.7 attributes: %v", err)
	}
	for _, text := range []string{
		`{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"sample":[]}]}]}]}`,
		`{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"stringTable":[""]}]}]}]}`,
		`{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"samples":[{"value":["1"]}]}]}]}]}`,
	} {
		if _, err := JSONToProto(Profiles, []byte(text)); !errors.Is(err, ErrBadJSON) || !strings.Contains(err.Error(), "profiles proto version") {
			t.Errorf("%s: %v", text, err)
		}
	}
	future := oneProfile(sampleOf(message(9, []byte("new"))), uintField(12, 1), message(15, []byte("new")))
	if res, _ := decoded(t, Profiles, profilesOf(zeroTables, future)); res.Accepted != 1 {
		t.Errorf("unknown fields: %q", res.Message)
	}
}

// SECURITY: one request's dictionary is not there for the next one, which is another tenant's.
func TestP8DictionaryIsNotSharedBetweenRequests(t *testing.T) {
	d := NewDecoder(Limits{})
	secret := slices.Concat(zeroTables, stringField(5, "secret"), message(7, packed(1, 0)), message(6, uintField(1, 1)))
	uses := oneProfile(sampleOf(uintField(1, 1), packed(2, 1)), message(1, uintField(1, 1)))
	if res, err := d.Decode(Profiles, profilesOf(secret, uses), testStamp(t)); err != nil || res.Accepted != 1 {
		t.Fatalf("%q, %v", res.Message, err)
	}
	for _, dictionary := range [][]byte{nil, zeroTables} {
		res, err := d.Decode(Profiles, profilesOf(dictionary, uses), testStamp(t))
		if err != nil || res.Accepted != 0 || len(res.Rows) != 0 {
			t.Errorf("%d accepted, %v", res.Accepted, err)
		}
	}
}

// SECURITY: the key may stand in the dictionary, where a search of the resource's bytes does not find it.
func TestA8TenantIDByReferenceIsReplaced(t *testing.T) {
	dictionary := slices.Concat(zeroTables, stringField(5, "tenant.id"), stringField(5, "globex"), stringField(5, "tenant.id"))
	byRef := func(i uint64, value []byte) []byte { return message(1, uintField(3, i), message(2, value)) }
	other := attrField(1, "a", "1")
	const only, beside = `{"tenant.id":"acme" }`, `{"a":"1" "tenant.id":"acme" }`
	for name, c := range map[string]struct {
		resource []byte
		want     string
	}{
		"key":               {message(1, byRef(1, stringField(1, "globex"))), only},
		"key and value":     {message(1, byRef(1, uintField(8, 2)), other), beside},
		"second entry":      {message(1, other, byRef(3, uintField(8, 2))), beside},
		"twice":             {message(1, byRef(1, uintField(8, 2)), other, byRef(3, uintField(3, 7))), beside},
		"literal":           {message(1, attrField(1, "tenant.id", "globex"), other), beside},
		"value first":       {message(1, message(1, message(2, uintField(8, 2)), uintField(3, 1)), other), beside},
		"reference twice":   {message(1, message(1, uintField(3, 2), message(2, uintField(8, 2)), uintField(3, 1)), other), beside},
		"resource in parts": {slices.Concat(message(1, byRef(1, uintField(8, 2))), message(1, other)), beside},
		"none":              {nil, only},
	} {
		records := message(2, goodProfile)
		for _, body := range [][]byte{
			slices.Concat(message(1, c.resource, records), message(2, dictionary)),
			slices.Concat(message(2, dictionary), message(1, records, c.resource)),
			slices.Concat(message(2, zeroTables), message(1, records, c.resource), message(2, dictionary[len(zeroTables):])),
		} {
			_, set := decoded(t, Profiles, body)
			rows := set.tables[schema.Profiles]
			if len(rows) != 1 || rows[0]["ResourceAttributes"] != c.want || rows[0]["TenantId"] != "acme" {
				t.Errorf("%s: %v, want %s", name, rows, c.want)
			}
		}
	}
	// Both a key and a reference is nobody's meaning: refused rather than guessed at.
	both := message(1, message(1, stringField(1, "a"), uintField(3, 1), message(2, uintField(8, 2))))
	res, _ := decoded(t, Profiles, slices.Concat(message(1, both, message(2, goodProfile)), message(2, dictionary)))
	if res.Accepted != 0 || res.Reasons[InvalidIndex] != 1 {
		t.Errorf("key and reference: %q", res.Message)
	}
}

// X6: few bytes of samples must not become many of rows, nor one string of the dictionary many copies.
func TestX6ProfilesAreBoundedAsRows(t *testing.T) {
	longText := stringField(5, strings.Repeat("x", 1<<20))
	deepStack := message(7, packed(1, make([]int64, 50_000)...))
	many := func(n int, one []byte) []byte { return bytes.Repeat(one, n) }
	refs := message(2, message(5, many(1000, message(1, uintField(8, 1)))))
	for name, c := range map[string]struct{ dictionary, profile []byte }{
		"deep stack":     {slices.Concat(zeroTables, deepStack), oneProfile(many(1000, sampleOf(uintField(1, 1))))},
		"long attribute": {slices.Concat(zeroTables, longText, message(6, message(2, uintField(8, 1)))), oneProfile(many(1000, sampleOf(packed(2, 1))))},
		"text in a list": {slices.Concat(zeroTables, longText, message(6, refs)), oneProfile(sampleOf(packed(2, 1)))},
		"empty entries":  {slices.Concat(zeroTables, many(1<<20, message(6))), goodProfile},
	} {
		res, _ := decoded(t, Profiles, profilesOf(c.dictionary, c.profile))
		if res.Accepted != 0 || res.Reasons[TooLarge] != 1 {
			t.Errorf("%s: %d accepted: %q", name, res.Accepted, res.Message)
		}
	}
	resource := message(1, message(1, stringField(1, "a"), refs))
	res, _ := decoded(t, Profiles, slices.Concat(message(1, resource, message(2, goodProfile)), message(2, zeroTables, longText)))
	if res.Accepted != 0 || res.Reasons[TooLarge] != 1 {
		t.Errorf("resource: %q", res.Message)
	}
	// A resource behind its profiles, as the collector writes it, is charged for each of their rows.
	wide := message(1, many(200, attrField(1, "key", "value")))
	behind := slices.Concat(message(1, message(2, oneProfile(many(20_000, sampleOf()))), wide), message(2, zeroTables))
	if res, _ := decoded(t, Profiles, behind); res.Accepted != 0 || res.Reasons[TooLarge] != 1 {
		t.Errorf("resource behind: %d accepted: %q", res.Accepted, res.Message)
	}
	tall := slices.Concat(zeroTables, message(7, packed(1, make([]int64, maxItems+1)...)))
	wantRejected(t, tall, oneProfile(sampleOf(uintField(1, 1))), TooManyItems)
}
