package query_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/prom"
)

// asked is a request and what its answer must have.
type asked struct {
	what   string
	path   string
	body   []byte   // of a POST
	own    string   // its canary
	trace  string   // that it asks for
	shows  []string // a whole answer
	binary bool     // compressed texts in the answer: short ones may arise by chance
	status int      // of the answer, if it was not refused for being too many
}

var (
	canaryRe = regexp.MustCompile(`canary[0-9a-f]{16}`)
	traceRe  = regexp.MustCompile(`"traceID":"([0-9a-f]*)"`)
	ownerRe  = regexp.MustCompile(`owner-[a-d]`)
)

func newCanary(rng *rand.Rand) string { return fmt.Sprintf("canary%016x", rng.Uint64()) }

// check returns what in an answer, or in a beginning of it, is another's, or what a whole one lacks.
func (a asked) check(owner string, resp *http.Response, body []byte, whole bool) error {
	text := fmt.Sprint(resp.Header, resp.Trailer) + string(body)
	for _, c := range canaryRe.FindAllString(text, -1) {
		if c != a.own {
			return fmt.Errorf("has %s of another request", c)
		}
	}
	for _, m := range traceRe.FindAllStringSubmatch(text, -1) {
		if m[1] != a.trace {
			return fmt.Errorf("has trace %s", m[1])
		}
	}
	if !a.binary {
		for _, o := range ownerRe.FindAllString(text, -1) {
			if o != "owner-"+owner {
				return fmt.Errorf("has %s", o)
			}
		}
	}
	busy := resp.StatusCode == http.StatusTooManyRequests && strings.Contains(text, "query-busy") ||
		resp.StatusCode == http.StatusServiceUnavailable && strings.HasPrefix(a.path, prom.Prefix)
	switch {
	case busy:
		return nil
	case resp.StatusCode != a.status:
		return fmt.Errorf("status %d: %.300s", resp.StatusCode, body)
	case !whole:
		return nil
	}
	for _, want := range a.shows {
		if !strings.Contains(text, want) {
			return fmt.Errorf("%d bytes without %q: %.300s", len(body), want, body)
		}
	}
	return nil
}

// asks are the interfaces.
var asks = []func(owner, own string, rng *rand.Rand) asked{oqlAsk, oqlAsk, planAsk, promAsk, traceAsk}

func oqlText(own string) string {
	return fmt.Sprintf("logs | extend %s = %q | project body, %[1]s", own, own)
}

func oqlBody(own string, rng *rand.Rand, more map[string]any) (asked, map[string]any) {
	format := []string{"json", "ndjson", "csv", "parquet", "arrow"}[rng.IntN(5)]
	body := map[string]any{"start": hourStart, "end": hourStart.Add(time.Hour), "limit": 1 + rng.IntN(logsEach), "format": format}
	if rng.IntN(3) == 0 {
		body["max_age"] = "10s"
	}
	for k, v := range more {
		body[k] = v
	}
	return asked{path: "/api/v1/query", own: own, shows: []string{own}, binary: format == "parquet" || format == "arrow", status: 200, what: format}, body
}

func oqlAsk(_, own string, rng *rand.Rand) asked {
	a, body := oqlBody(own, rng, map[string]any{"query": oqlText(own)})
	return a.with(body)
}

func planAsk(_, own string, rng *rand.Rand) asked {
	p, err := oql.Parse(oqlText(own))
	if err != nil {
		panic(err)
	}
	doc, _ := oql.JSONOf(p)
	a, body := oqlBody(own, rng, map[string]any{"plan": json.RawMessage(doc)})
	a.what = "plan as " + a.what
	return a.with(body)
}

func (a asked) with(body map[string]any) asked {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	a.body = raw
	return a
}

func promAsk(owner, own string, _ *rand.Rand) asked {
	v := url.Values{"query": {fmt.Sprintf(`label_replace(load, "canary", "%s", "", "")`, own)}, "start": {fmt.Sprint(hourStart.Unix())}, "end": {fmt.Sprint(hourStart.Add(time.Hour).Unix())}, "step": {"60"}}
	return asked{what: "prometheus", path: "/prometheus/api/v1/query_range?" + v.Encode(), own: own, status: 200, shows: []string{own, "owner-" + owner + " 0", fmt.Sprintf("owner-%s %d", owner, seriesEach-1)}}
}

// traceAsk asks for one of many traces.
func traceAsk(owner, own string, rng *rand.Rand) asked {
	id := fmt.Sprintf("%02x%028x%02x", owner[0], 0, rng.IntN(tracesEach))
	return asked{what: "jaeger", path: "/jaeger/api/traces/" + id, own: own, trace: id, status: 200, shows: []string{id, "owner-" + owner}}
}

// failing is a query that the engine ends.
func failing(own string, status int) asked {
	var aggs []string
	for i := range 30 {
		aggs = append(aggs, fmt.Sprintf("dcount(replace(body, \"%d\", %q))", i, own))
	}
	a := asked{what: "failing", path: "/api/v1/query", own: own, status: status}
	return a.with(map[string]any{"query": "logs | summarize " + strings.Join(aggs, ", ") + " by body", "start": hourStart, "end": hourStart.Add(time.Hour)})
}

func badCursor(own string) asked {
	a := asked{what: "bad cursor", path: "/api/v1/query", own: own, status: http.StatusBadRequest}
	return a.with(map[string]any{"query": oqlText(own), "start": hourStart, "end": hourStart.Add(time.Hour), "cursor": own})
}
