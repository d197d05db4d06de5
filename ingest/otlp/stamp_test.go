package otlp

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// Requests put together by hand, field by field.

func message(num protowire.Number, fields ...[]byte) []byte {
	b := protowire.AppendTag(nil, num, protowire.BytesType)
	return protowire.AppendBytes(b, slices.Concat(fields...))
}

func stringField(num protowire.Number, s string) []byte { return message(num, []byte(s)) }

func uintField(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func fixedField(num protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), v)
}

// attrField is the attribute key = text in the field num.
func attrField(num protowire.Number, key, text string) []byte {
	return message(num, stringField(1, key), message(2, stringField(1, text)))
}

// oneLog is a logs request of one record under the given fields of ResourceLogs.
func oneLog(resourceFields ...[]byte) []byte {
	return message(1, slices.Concat(resourceFields...), message(2, message(2, fixedField(1, 1788000000000000000))))
}

func decoded(t *testing.T, sig Signal, body []byte) (Result, rowSet) {
	t.Helper()
	res, err := NewDecoder(Limits{}).Decode(sig, body, testStamp(t))
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return res, readRows(t, res)
}

// SECURITY: whatever a client says about tenant.id, a row is the stamp's.
func TestA8TenantOfTheStampReplacesTheClients(t *testing.T) {
	id := func(s string) []byte { return attrField(1, "tenant.id", s) }
	other := attrField(1, "a", "1")
	numeric := message(1, stringField(1, "tenant.id"), message(2, uintField(3, 7)))
	listed := message(1, stringField(1, "tenant.id"), message(2, message(5, message(1, stringField(1, "globex")))))
	deep := message(1, stringField(1, "tenant.id"), message(2, nested(maxDepth+1))) // not even looked at
	valueFirst := message(1, message(2, stringField(1, "globex")), stringField(1, "tenant.id"))
	keyTwice := message(1, stringField(1, "b"), message(2, stringField(1, "globex")), stringField(1, "tenant.id"))
	overlong := message(1, append([]byte{0x8a, 0x00}, append([]byte{9}, "tenant.id"...)...), message(2, stringField(1, "globex")))
	const only, beside = `{"tenant.id":"acme" }`, `{"a":"1" "tenant.id":"acme" }`
	for _, tc := range []struct {
		name     string
		resource []byte
		want     string
	}{
		{"no resource", nil, only},
		{"empty resource", message(1), only},
		{"without", message(1, other), beside},
		{"once", message(1, id("globex"), other), beside},
		{"last", message(1, other, id("globex")), beside},
		{"twice", message(1, id("globex"), other, id("initech")), beside},
		{"its own name", message(1, id("acme"), other), beside},
		{"a number", message(1, numeric, other), beside},
		{"a list", message(1, listed, other), beside},
		{"nested too deep", message(1, deep, other), beside},
		{"value before key", message(1, valueFirst, other), beside},
		{"key sent twice", message(1, keyTwice, other), beside},
		{"overlong tag", message(1, overlong, other), beside},
		{"resource in two pieces", slices.Concat(message(1, id("globex")), message(1, other, id("initech"))), beside},
	} {
		t.Run(tc.name, func(t *testing.T) {
			records := message(2, message(2, fixedField(1, 1788000000000000000)))
			for _, body := range [][]byte{
				message(1, tc.resource, records), message(1, records, tc.resource), // the collector sends the resource last
			} {
				_, set := decoded(t, Logs, body)
				rows := set.tables[schema.Logs]
				if len(rows) != 1 {
					t.Fatalf("%d rows, want 1", len(rows))
				}
				if got := rows[0]["ResourceAttributes"]; got != tc.want {
					t.Errorf("ResourceAttributes = %s, want %s", got, tc.want)
				}
				if got := rows[0]["TenantId"]; got != "acme" {
					t.Errorf("TenantId = %s, want acme", got)
				}
			}
		})
	}
}

func TestA8NamesOtherThanTenantIDAreLeftAlone(t *testing.T) {
	nested := message(1, stringField(1, "nested"), message(2, message(6, attrField(1, "tenant.id", "x"))))
	body := message(1, message(1, attrField(1, "Tenant.ID", "1"), attrField(1, "tenant.id ", "2"), attrField(1, "xtenant.id", "3"), nested),
		message(2, message(1, attrField(3, "tenant.id", "scope")),
			message(2, fixedField(1, 1788000000000000000), attrField(6, "tenant.id", "record"))))
	_, set := decoded(t, Logs, body)
	row := set.tables[schema.Logs][0]
	for column, want := range map[string]string{
		"ResourceAttributes": `{"Tenant.ID":"1" "nested":"{\"tenant.id\":\"x\"}" "tenant.id":"acme" "tenant.id ":"2" "xtenant.id":"3" }`,
		"ScopeAttributes":    `{"tenant.id":"scope" }`,
		"LogAttributes":      `{"tenant.id":"record" }`,
	} {
		if row[column] != want {
			t.Errorf("%s = %s, want %s", column, row[column], want)
		}
	}
}

// SECURITY: rows without an owner must not exist.
func TestZeroTenantIsRefused(t *testing.T) {
	st := testStamp(t)
	st.Tenant = tenant.ID{}
	if _, err := NewDecoder(Limits{}).Decode(Logs, oneLog(), st); err == nil {
		t.Fatal("a request without a tenant was decoded")
	}
}

// SECURITY: a panic in the middle of a request leaves rows in the tables; the next request must not carry them under its
// own tenant.
func TestRowsOfARequestThatPanickedAreNotTheNextOnes(t *testing.T) {
	st := testStamp(t)
	for _, sig := range signals {
		d := NewDecoder(Limits{})
		if err := d.attempt(sig, realistic(sig, 1, 100), st, false); err != nil { // as if end was never reached
			t.Fatal(err)
		}
		other := signals[(int(sig)+1)%len(signals)]
		for _, next := range []Signal{other, sig} {
			res, err := d.Decode(next, realistic(next, 2, 3), st)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := reference(next, realistic(next, 2, 3), st)
			compareSets(t, readRows(t, res), want)
		}
	}
}

// SECURITY: rows that were not encoded in time are lost. The columns are the next tenant's by then.
func TestRowsAreNotEncodedAfterTheirDecoderWentOn(t *testing.T) {
	st, d := testStamp(t), NewDecoder(Limits{})
	for _, sig := range signals {
		for name, next := range map[string]func(){
			"Decode":         func() { _, _ = d.Decode(sig, realistic(sig, 2, 3), st) },
			"a bad request":  func() { _, _ = d.Decode(sig, []byte{0x0a, 9}, st) },
			"another signal": func() { _, _ = d.Decode(signals[(int(sig)+1)%len(signals)], nil, st) },
			"Reset":          d.Reset,
		} {
			res, err := d.Decode(sig, realistic(sig, 1, 3), st)
			if err != nil || len(res.Rows) == 0 {
				t.Fatalf("%d tables, %v", len(res.Rows), err)
			}
			next()
			if block, ok := encodable(&res.Rows[0]); ok {
				t.Errorf("%s: %d rows were encoded after %s", sig, block.Rows, name)
			}
		}
	}
}

func encodable(r *Rows) (block native.Block, ok bool) {
	defer func() { ok = recover() == nil }()
	return r.Encode(), true
}

// SECURITY: a decoder that waits holds nothing of the tenant that it served last.
func TestResetAndFailureEmptyTheTables(t *testing.T) {
	st, d := testStamp(t), NewDecoder(Limits{})
	for _, sig := range signals {
		body := realistic(sig, 1, 100)
		for name, end := range map[string]func(){
			"Reset":   func() { _, _ = d.Decode(sig, body, st); d.Reset() },
			"failure": func() { _, _ = d.Decode(sig, append(body[:len(body):len(body)], 0x0a, 9), st) },
		} {
			end()
			for _, table := range d.tables[sig] {
				left := table.rows + len(table.days) + table.tenant.Rows() + table.resourceAttrs.Rows() + table.service.Rows()
				if left != 0 {
					t.Errorf("%s is not empty after %s", table.name, name)
				}
			}
		}
	}
}

// SECURITY: behind a body in a buffer that is used again are bytes of earlier requests. The race detector sees them read.
func TestNothingBehindTheBodyIsRead(t *testing.T) {
	d, st := NewDecoder(Limits{}), testStamp(t)
	if _, err := d.Decode(Logs, realistic(Logs, 1, 10), st); err != nil { // columns with room
		t.Fatal(err)
	}
	body := logWith(fixedField(1, 5), attrField(6, "k", "v"))
	buffer := append(slices.Clone(body), make([]byte, 64)...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range buffer[len(body):] {
			buffer[len(body)+i] = 'x'
		}
	}()
	if _, err := d.Decode(Logs, buffer[:len(body)], st); err != nil {
		t.Fatal(err)
	}
	<-done
}
