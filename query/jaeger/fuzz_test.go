package jaeger

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/query"
)

// FuzzParameters: whatever the parameters are, they are refused as the caller's mistake or become statements that print
// within their bounds, over the tables' times.
func FuzzParameters(f *testing.F) {
	for seed := range uint64(60) {
		_, q, _ := strings.Cut(generate(seed), "?")
		f.Add(q)
	}
	for _, q := range []string{"service=a&tags={\"a\":\"\\u0000\"}", "service=%ff&start=0&end=1", "query.start_time_min=1970-01-01T00:00:00Z&query.start_time_max=1970-01-01T00:00:01Z",
		"traceID=1&start=4294967296000000", "service=a&lookback=2d&limit=1500&minDuration=1ns&maxDuration=2562047h", "tag=:&tag=a:&tag=error:true&tag=event:x"} {
		f.Add(q)
	}
	h := &handler{opts: Options{Now: func() time.Time { return hourEnd }}.withDefaults()}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := values(&http.Request{URL: &url.URL{RawQuery: text}})
		if err != nil {
			mustBeMistake(t, text, err)
			return
		}
		c, ids, err := h.search(q, 400*24*time.Hour)
		mustBeMistake(t, text, err)
		if err == nil && len(ids) == 0 {
			mustPrint(t, text, h, c)
		}
		if err == nil && len(ids) > 0 {
			p, err := recordsOf(ids)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			if _, err := query.Print(p, chtest.Scope(t, "a"), h.bounds(firstTime, endTime, h.opts.MaxSpans)); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		c, err = search3(q, 400*24*time.Hour)
		mustBeMistake(t, text, err)
		if err == nil {
			mustPrint(t, text, h, c)
		}
		for _, ranged := range []func(url.Values) (time.Time, time.Time, error){traceRange, traceRange3} {
			start, end, err := ranged(q)
			mustBeMistake(t, text, err)
			if err == nil {
				if _, err := query.Dependencies(chtest.Scope(t, "a"), h.bounds(start, end, 1)); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
			}
		}
	})
}

func mustBeMistake(t *testing.T, text string, err error) {
	t.Helper()
	var e *httpapi.Error
	if err != nil && (!errors.As(err, &e) || e.Status != 400 || e.Detail == "") {
		t.Fatalf("%q: %v, want an error that tells the caller", text, err)
	}
}

func mustPrint(t *testing.T, text string, h *handler, c criteria) {
	t.Helper()
	b := matching(c)
	p := b.newest(c.limit)
	if b.err != nil {
		t.Fatalf("%q: %v", text, b.err)
	}
	_, err := h.print(p, chtest.Scope(t, "a"), h.bounds(c.start, c.end, c.limit))
	mustBeMistake(t, text, err)
}

// FuzzKinds: any text of kinds and any text of a value make a value, and texts as the decoder writes them keep their kind.
func FuzzKinds(f *testing.F) {
	for _, s := range []string{"", "s", "ids", "a(i)k(de)", "a(a(a(", "k(~", "xyz", "a)", "(((", "b~"} {
		f.Add(s, `{"k":1.5,"l":null}`)
		f.Add(s, "[1,2,[3,{}]]")
		f.Add(s, "10")
	}
	f.Fuzz(func(t *testing.T, kinds, text string) {
		a := attributes{keys: []string{"a", "b", "c"}, values: []string{text, text, text}, kinds: kinds}
		for _, tg := range a.tags(nil) {
			if _, err := encode(tg); err != nil {
				t.Fatalf("kinds %q, text %q: %v", kinds, text, err)
			}
		}
		c := newChunk()
		c.add(&record{resource: &resource{attrs: a, entityRefs: text}, scope: &scope{}, attrs: a, traceID: text, kind: text})
	})
}
