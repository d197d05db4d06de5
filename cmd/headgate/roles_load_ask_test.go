package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
)

// question is one in a language of the query process, whose answer says whose rows it is of.
type question struct {
	method, path, body string
	read               func(text string) (answerOf, error)
}

// answerOf is whom an answer names, and how much there is of them.
type answerOf struct {
	names []string
	rows  int
}

// questions are one in each language, over all that is sent.
func (d *roleLoad) questions() [len(loaded{}.answered)]question {
	start, end := d.from.Add(-time.Minute).UTC().Format(time.RFC3339Nano), d.from.Add(loadSpan).UTC().Format(time.RFC3339Nano)
	text, _ := json.Marshal(map[string]string{"query": "logs | summarize n = count() by service", "start": start, "end": end, "format": "ndjson"})
	promql := url.Values{"query": {"sum by (job) (count_over_time(load[" + loadSpan.String() + "]))"}, "time": {end}}
	return [...]question{
		{"POST", queryPath, string(text), func(text string) (out answerOf, err error) {
			for line := range strings.Lines(text) {
				var row struct {
					Service string
					N       int
				}
				if err := json.Unmarshal([]byte(line), &row); err != nil {
					return out, err
				}
				out.names, out.rows = append(out.names, row.Service), out.rows+row.N
			}
			return out, nil
		}},
		{"GET", "/prometheus/api/v1/query?" + promql.Encode(), "", func(text string) (out answerOf, err error) {
			var v struct {
				Data struct {
					Result []struct{ Metric map[string]string }
				}
			}
			err = json.Unmarshal([]byte(text), &v)
			for _, r := range v.Data.Result {
				out.names = append(out.names, r.Metric["job"])
			}
			return out, err
		}},
		{"GET", "/jaeger/api/services", "", func(text string) (out answerOf, err error) {
			var v struct{ Data []string }
			err = json.Unmarshal([]byte(text), &v)
			return answerOf{names: v.Data}, err
		}},
	}
}

// ask asks in each language in turn until ctx ends. What is answered is the tenant's alone, and never less than before.
func (d *roleLoad) ask(ctx context.Context, tenant *loaded, addr string) {
	questions := d.questions()
	var seen [len(questions)]answerOf
	pace := time.NewTicker(loadPace)
	defer pace.Stop()
	for i := 0; ctx.Err() == nil && !d.t.Failed(); i++ {
		language := i % len(questions)
		q, last := questions[language], &seen[language]
		status, text, err := askOnce(ctx, addr, tenant.key, q)
		switch {
		case err != nil || status == http.StatusServiceUnavailable: // it, ClickHouse or the way to them is away
		case status != http.StatusOK:
			d.t.Errorf("%s is answered %d %s to %s", tenant.name, status, text, q.path)
		default:
			got, err := q.read(text)
			if err != nil {
				d.t.Errorf("%s is answered %q to %s: %v", tenant.name, text, q.path, err)
				return
			}
			for _, name := range got.names {
				if name != tenant.name {
					d.t.Errorf("%s is shown %q by %s", tenant.name, name, q.path)
				}
			}
			if len(got.names) < len(last.names) || got.rows < last.rows {
				d.t.Errorf("%s is shown %+v by %s after %+v", tenant.name, got, q.path, *last)
			}
			*last = got
			tenant.answered[language].Add(1)
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
	}
}

// askOnce returns an answer, or why there is none.
func askOnce(ctx context.Context, addr, key string, q question) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, "http://"+addr+q.path, strings.NewReader(q.body))
	if err != nil {
		return 0, "", err
	}
	req.Header = asktest.Bearer(key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
