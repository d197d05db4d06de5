package jaeger

import (
	"fmt"
	"strings"
	"testing"
)

// TestSizesAreBounded: what is too much is refused before ClickHouse is asked, with the bound.
func TestSizesAreBounded(t *testing.T) {
	srv := newStore(t).serve("a")
	var tags, ids, wide []string
	for i := range 51 {
		tags = append(tags, "tag", fmt.Sprintf("k%d:v", i))
	}
	for i := range 20 {
		wide = append(wide, "tag", fmt.Sprintf("k%d:%d%s", i, i, strings.Repeat("z", 4000)))
	}
	for i := range maxTraces + 1 {
		ids = append(ids, "traceID", fmt.Sprintf("%x", i+1))
	}
	long := strings.Repeat("x", maxNameBytes+1)
	search := func(more ...string) string {
		return "/jaeger/api/traces" + params(append(append(hourOf(), "service", "frontend"), more...)...)
	}
	for path, want := range map[string]string{
		"/jaeger/api/traces" + params("service", long):          "unable to parse param 'service': it has 1025 bytes of at most 1024",
		"/jaeger/api/services/" + long + "/operations":          "the service's name has 1025 bytes of at most 1024",
		search("tags", `{"a":"`+strings.Repeat("y", 8193)+`"}`): `malformed 'tags' parameter, tag "a": a key has at most 1024 bytes, a value 8192`,
		search("tags", strings.Repeat("[", 20_000)):             `malformed 'tags' parameter, cannot unmarshal JSON: want an object such as {"http.status_code":"500"}`,
		search(tags...):                       "malformed 'tags' parameter, 51 tags are more than 50",
		search(wide...):                       "query is too complex: its values take 80088 bytes of at most 65536: ask with fewer or shorter tags",
		"/jaeger/api/traces" + params(ids...): "1501 trace ids are more than 1500",
	} {
		a := get(t, srv, path)
		want = fmt.Sprintf(`{"data":null,"total":0,"limit":0,"offset":0,"errors":[{"code":400,"msg":%s}]}`, mustEncode(want))
		if a.status != 400 || strings.TrimSpace(a.body) != want {
			t.Errorf("%.80s: %d %s, want %s", path, a.status, a.body, want)
		}
	}
	// What is just small enough is answered.
	if a := get(t, srv, "/jaeger/api/traces"+params(ids[2:]...)); a.status != 200 || strings.Count(a.body, `"trace not found"`) != maxTraces {
		t.Errorf("%d ids: %d %.300s", maxTraces, a.status, a.body)
	}
}

func mustEncode(v any) string {
	b, err := encode(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
