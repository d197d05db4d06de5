package otlp

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/storage/schema"
)

// refEntities returns what the column ResourceEntityRefs must have, by resource.
func refEntities(body []byte) (out []string) {
	type entity struct {
		SchemaURL       string   `json:"schemaUrl"`
		Type            string   `json:"type"`
		IDKeys          []string `json:"idKeys"`
		DescriptionKeys []string `json:"descriptionKeys"`
	}
	fields := func(b []byte, num protowire.Number) (found []part) {
		parts, _ := split(b)
		return slices.DeleteFunc(parts, func(p part) bool { return p.num != num || p.wire != protowire.BytesType })
	}
	for _, resource := range fields(body, 1) {
		var refs []entity
		for _, res := range fields(resource.body, 1) {
			for _, ref := range fields(res.body, 3) {
				e := entity{IDKeys: []string{}, DescriptionKeys: []string{}}
				parts, _ := split(ref.body)
				for _, p := range parts {
					switch s := string(p.body); {
					case p.wire != protowire.BytesType:
					case p.num == 1:
						e.SchemaURL = s
					case p.num == 2:
						e.Type = s
					case p.num == 3 && s != "tenant.id":
						e.IDKeys = append(e.IDKeys, s)
					case p.num == 4 && s != "tenant.id":
						e.DescriptionKeys = append(e.DescriptionKeys, s)
					}
				}
				refs = append(refs, e)
			}
		}
		text := ""
		if len(refs) > 0 {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(refs); err != nil {
				panic(err)
			}
			text = strings.TrimRight(b.String(), "\n")
		}
		out = append(out, text)
	}
	return out
}

func TestD11EntityRefsAreKept(t *testing.T) {
	ref := message(3, stringField(1, "https://x"), stringField(2, "host"), stringField(3, "host.id"), stringField(3, "a\"b"),
		stringField(4, "host.name"))
	for _, tc := range []struct {
		name     string
		resource []byte
		want     string
	}{
		{"none", nil, ""},
		{"empty", message(3), `[{"schemaUrl":"","type":"","idKeys":[],"descriptionKeys":[]}]`},
		{"two", slices.Concat(ref, message(3, stringField(2, "pod"))),
			`[{"schemaUrl":"https://x","type":"host","idKeys":["host.id","a\"b"],"descriptionKeys":["host.name"]},` +
				`{"schemaUrl":"","type":"pod","idKeys":[],"descriptionKeys":[]}]`},
		// SECURITY: A8.
		{"tenant.id as a key", message(3, stringField(3, "tenant.id"), stringField(3, "b"), stringField(4, "c"), stringField(4, "tenant.id")),
			`[{"schemaUrl":"","type":"","idKeys":["b"],"descriptionKeys":["c"]}]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, set := decoded(t, Logs, oneLog(message(1, tc.resource)))
			if got := set.tables[schema.Logs][0]["ResourceEntityRefs"]; got != tc.want {
				t.Errorf("ResourceEntityRefs = %s, want %s", got, tc.want)
			}
		})
	}
}

// Few bytes of references can ask for many of JSON: they are bounded per resource and charged to the request.
func TestX6EntityRefsAreBounded(t *testing.T) {
	record := message(2, message(2, fixedField(1, 5)))
	res, _ := decoded(t, Logs, message(1, message(1, bytes.Repeat(message(3), 60_000)), record))
	if res.Accepted != 0 || res.Reasons[TooManyItems] != 1 {
		t.Errorf("accepted %d, reasons %v", res.Accepted, res.Reasons)
	}
	one := message(1, message(1, bytes.Repeat(message(3), 1000)), record)
	body := bytes.Repeat(one, 2000)
	res, _ = decoded(t, Logs, body)
	if res.Reasons[TooLarge] == 0 || res.Accepted == 0 {
		t.Errorf("accepted %d, reasons %v", res.Accepted, res.Reasons)
	}
	if got, limit := res.Rows[0].Encode().Raw, freeRowBytes+defaultMaxExpansion*len(body); got > limit {
		t.Errorf("a block of %d bytes, limit %d", got, limit)
	}
}
