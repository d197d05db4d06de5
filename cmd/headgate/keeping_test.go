package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
)

// The tour of docs/saved-queries.md is what happens, on a server that has some logs and metrics.
func TestTourOfSavedQueriesIsWhatHappens(t *testing.T) {
	dir := t.TempDir()
	p := serveOn(t, filepath.Join(dir, "data"))
	p.cli("tenant", "create", "acme")
	ann := p.enter("acme", "ann@example.com", "editor")
	key := p.key("acme", "ingest")
	for _, text := range []string{"card declined", "no answer"} {
		log := strings.ReplaceAll(record(text), `"severityNumber":17`, `"severityNumber":17,"severityText":"ERROR"`)
		p.mustPost("/v1/logs", key, log)
		p.mustPost("/v1/logs", key, strings.ReplaceAll(log, `"shop"`, `"checkout"`))
	}
	p.mustPost("/v1/metrics", key, requests("checkout"))
	p.flushed()
	const query = `{
  "name": "Errors by service",
  "query": "logs | where severity >= $from | summarize n = count() by service",
  "variables": [{"name": "from", "type": "string", "values": ["warn", "error", "fatal"], "default": "error"}]
}
`
	const board = `{"name": "Checkout", "start": "-6h",
 "variables": [{"name": "service", "type": "string", "default": "checkout"}, {"name": "least", "type": "int", "default": 1}],
 "panels": [
   {"id": "errors", "title": "Errors", "query": "logs | where service == $service | summarize n = count() by severity_text"},
   {"id": "busy", "title": "Requests", "language": "promql", "instant": true,
    "query": "sum by (route) (requests_total{job=$service}) > $least"}]}
`
	for name, text := range map[string]string{"errors.json": query, "board.json": board} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh := openShell(t, dir)
	sh.run("export HEADGATE_TOKEN=" + ann)
	if commands := sh.tour("../../docs/saved-queries.md"); commands < 15 {
		t.Errorf("the tour has %d commands only", commands)
	}
}

// TestDefinitionsSurviveFiles: what is exported, deleted and made of the file again is the same to the byte, in each language; replacing
// leaves nothing of what was there.
func TestDefinitionsSurviveFiles(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	p.cli("tenant", "create", "other")
	ann, bob := p.enter("acme", "ann@example.com", "editor"), p.enter("other", "bob@example.com", "editor")
	file := filepath.Join(t.TempDir(), "x.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ use, text string }{
		{"saved", `{"name":"one","query":"logs | where body ~ $x","start":"-2h","end":"-1h","description":"a <b> & c\nd","variables":[{"name":"x","type":"string","default":"é\""}]}`},
		{"saved", `{"name":"one","plan":{"from":"logs","where":{"op":"==","args":[{"field":"body"},{"var":"is"}]}},"variables":[{"name":"is","type":"string","default":"two"}]}`},
		{"saved", `{"name":"one","language":"promql","query":"up{job=$j}\n# why","step":"1m","sharing":"tenant","variables":[{"name":"j","type":"string"}]}`},
		{"dashboard", `{"name":"one","start":"-6h","sharing":"tenant","variables":[{"name":"n","type":"list","values":[1,2.50],"default":[1]}],"panels":[
			{"id":"a","title":"A","display":"line","x":1,"y":2,"width":3,"height":4,"query":"logs | where body in $n"},
			{"id":"b","language":"promql","instant":true,"query":"rate(x_total{code=~$n}[5m])"},{"id":"c","plan":{"from":"spans"}}]}`},
		{"dashboard", `{"name":"one"}`},
	} {
		write(c.text)
		p.cli(c.use, "create", "--file", file, "--token", ann)
		for _, form := range []string{"--definition", "--json"} {
			first := p.cli(c.use, "show", "one", "--definition", "--token", ann)
			write(p.cli(c.use, "show", "one", form, "--token", ann))
			p.cli(c.use, "delete", "one", "--token", ann)
			if _, errText, err := p.try(c.use, "show", "one", "--token", ann); err == nil || !strings.Contains(errText, "list' shows") {
				t.Errorf("%s: it was deleted, and show says %s", c.text, errText)
			}
			p.cli(c.use, "create", "--file", file, "--token", ann)
			if again := p.cli(c.use, "show", "one", "--definition", "--token", ann); again != first {
				t.Errorf("%s %s: before\n%s, after\n%s", c.use, form, first, again)
			}
			// In another tenant too, without a word of the first.
			p.cli(c.use, "create", "--file", file, "--token", bob)
			if there := p.cli(c.use, "show", "one", "--definition", "--token", bob); there != first {
				t.Errorf("%s %s: there\n%s, here\n%s", c.use, form, there, first)
			}
			p.cli(c.use, "delete", "one", "--token", bob)
		}
		first := p.cli(c.use, "show", "one", "--definition", "--token", ann)
		write(first)
		other := map[string]string{"saved": `{"name":"two","query":"spans","start":"-9h","description":"gone"}`, "dashboard": `{"name":"two","description":"gone","start":"-9h","panels":[{"query":"logs"}]}`}[c.use]
		second := filepath.Join(t.TempDir(), "two.json")
		if err := os.WriteFile(second, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		p.cli(c.use, "create", "--file", second, "--token", ann)
		if out := p.cli(c.use, "create", "--file", file, "--replace", "two", "--name", "two", "--token", ann); !strings.HasPrefix(out, "replaced two (") {
			t.Errorf("replacing printed %s", out)
		}
		got := p.cli(c.use, "show", "two", "--definition", "--token", ann)
		if want := strings.Replace(first, `"name": "one"`, `"name": "two"`, 1); got != want {
			t.Errorf("%s: replaced\n%s, want\n%s", c.use, got, want)
		}
		if _, errText, err := p.try(c.use, "create", "--file", file, "--replace", "nothing", "--token", ann); err == nil {
			t.Errorf("what is not there was replaced: %s", errText)
		}
		p.cli(c.use, "delete", "one", "--token", ann)
		p.cli(c.use, "delete", "two", "--token", ann)
	}

	// Of two with the same name none is taken; what is wrong is refused with its place.
	write(`{"name":"twin","panels":[{"id":"p","language":"promql","query":"up{"}]}`)
	if _, errText, err := p.try("dashboard", "create", "--file", file, "--token", ann); err == nil || !strings.Contains(errText, "panel p: line 1 column") {
		t.Errorf("a wrong query: %s", errText)
	}
	write(`{"name":"twin","panels":[{"id":"p","query":"logs"},{"id":"q","language":"promql","query":"up"}]}`)
	for range 2 {
		p.cli("dashboard", "create", "--file", file, "--token", ann)
	}
	for want, args := range map[string][]string{
		"2 have the name":                    {"delete", "twin"},
		"give the definition with --file":    {"create"},
		"give one of --with and --team":      {"create", "--file", file, "--with", "tenant", "--team", "x"},
		"want tenant or private":             {"share", "twin", "--with", "world"},
		"give --with tenant, --with private": {"share", "twin"},
		"no such file":                       {"create", "--file", file + "x"},
		"want exactly NAME":                  {"run"},
		"no dashboard \"nobody\"":            {"run", "nobody"},
		"format \"xml\"":                     {"run", "twin", "--format", "xml"},
	} {
		if out, errText, err := p.try(append(append([]string{"dashboard"}, args...), "--token", ann)...); err == nil || !strings.Contains(errText, want) {
			t.Errorf("headgate dashboard %s printed %s%s, want %s", strings.Join(args, " "), out, errText, want)
		}
	}
	item := unmarshal[control.Dashboards](t, p.cli("dashboard", "list", "--search", "TWIN", "--mine", "--json", "--token", ann)).Dashboards[0]
	for want, args := range map[string][]string{
		"no panel \"z\": there are p, q":      {"z"},
		"--step and --instant are for PromQL": {"p", "--step", "1m"},
		"answers to PromQL are printed as":    {"q", "--format", "csv"},
		"there is no such variable":           {"p", "--var", "x=1"},
		"want name=value":                     {"p", "--var", "x"},
		"(bad_data)":                          {"q", "--step", "0s"},
	} {
		if out, errText, err := p.try(append([]string{"dashboard", "run", item.ID, "--token", ann}, args...)...); err == nil || !strings.Contains(errText, want) {
			t.Errorf("run %s printed %s%s, want %s", strings.Join(args, " "), out, errText, want)
		}
	}
}

// TestRunsArePrintedAsQueriesAre: as tables with charts, and in the other formats, of both languages.
func TestRunsArePrintedAsQueriesAre(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	ann, key := p.enter("acme", "ann@example.com", "editor"), p.key("acme", "ingest")
	p.mustPost("/v1/metrics", key, requests("shop"))
	p.mustPost("/v1/logs", key, record("one"))
	p.flushed()
	file := filepath.Join(t.TempDir(), "x.json")
	const board = `{"name":"b","sharing":"tenant","start":"-10m","panels":[{"id":"lines","title":"Lines","language":"promql","step":"1m","query":"sum(requests_total)"},
		{"id":"rows","query":"logs | where body in $among | project body"}],"variables":[{"name":"among","type":"list","default":["one"]}]}`
	if err := os.WriteFile(file, []byte(board), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cli("dashboard", "create", "--file", file, "--token", ann)
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"lines", "--chart"}, []string{"time  ", "value", "   47\n", "\nvalue\n", "█"}},
		{[]string{"lines", "--instant"}, []string{"value\n   47\n"}},
		{[]string{"lines", "--format", "ndjson"}, []string{`{"time":"20`, `"value":47}`}},
		{[]string{"lines", "--json"}, []string{`{"status":"success","data":{"resultType":"matrix"`}},
		{[]string{"rows"}, []string{"body\none\n"}},
		{[]string{"rows", "--format", "csv", "--var", "among=two,one"}, []string{"body\none\n"}},
		{nil, []string{"lines: Lines\n", "rows: -\nbody\none\n"}},
	} {
		out := p.cli(append([]string{"dashboard", "run", "b", "--token", p.key("acme", "query")}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("run %s printed\n%q, want %q", strings.Join(c.args, " "), out, want)
			}
		}
	}
}

func TestAnswersOfPrometheusBecomeRows(t *testing.T) {
	for body, want := range map[string]string{
		`{"data":{"resultType":"scalar","result":[1,"2"]}}`:    `{"value":2}` + "\n",
		`{"data":{"resultType":"string","result":[1,"a\nb"]}}`: `{"value":"a\nb"}` + "\n",
		`{"data":{"resultType":"vector","result":[]}}`:         "",
		`{"data":{"resultType":"vector","result":[{"metric":{"b":"x"},"value":[1,"NaN"]},{"metric":{"a":"\""},"value":[1,"1e+06"]}]}}`: `{"a":"","b":"x","value":"NaN"}` + "\n" + `{"a":"\"","b":"","value":1e+06}` + "\n",
		`{"data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"5","sum":"7.5","buckets":[]}]}]}}`:             `{"value":"count 5, sum 7.5"}` + "\n",
		`{"data":{"resultType":"matrix","result":[{"metric":{"__name__":"x"},"values":[[1741089600.123,"3"]]}]}}`:                      `{"time":"2025-03-04T12:00:00.123Z","__name__":"x","value":3}` + "\n",
	} {
		var notes bytes.Buffer
		rows, err := promRows(strings.NewReader(body), &notes)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if got, _ := io.ReadAll(rows); string(got) != want || notes.Len() > 0 {
			t.Errorf("%s is\n%s, want\n%s", body, got, want)
		}
	}
	var notes bytes.Buffer
	if _, err := promRows(strings.NewReader(`{"data":{"resultType":"vector","result":[]},"warnings":["w"],"infos":["i\u001b"]}`), &notes); err != nil || notes.String() != "w\ni \n" {
		t.Errorf("notes %q, %v", notes.String(), err)
	}
	for _, bad := range []string{``, `{"data":`, `{"data":{"resultType":"vector","result":5}}`, `{"data":{}}`} {
		if _, err := promRows(strings.NewReader(bad), &notes); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestValuesOnTheCommandLineHaveTheirTypes(t *testing.T) {
	all := []saved.Variable{{Name: "s", Type: "string"}, {Name: "i", Type: "int"}, {Name: "b", Type: "bool"}, {Name: "d", Type: "duration"}, {Name: "l", Type: "list"}}
	for given, want := range map[string]string{
		"s=": `""`, `s=a"=b`: `"a\"=b"`, "s=5": `"5"`, "i=5": "5", "b=true": "true", "d=5m": `"5m"`, "l=a,b c": `["a","b c"]`, "l=[1,2]": "[1,2]", "l=a": `["a"]`,
	} {
		got, err := valuesOf(all, []string{given})
		if err != nil || strings.TrimSpace(string(got[given[:1]])) != want {
			t.Errorf("%s is %s, %v, want %s", given, got, err, want)
		}
	}
	for _, bad := range []string{"s", "x=1", "i=", "i=a", "l=[1"} {
		if got, err := valuesOf(all, []string{bad}); err == nil {
			t.Errorf("%s is %s", bad, got)
		}
	}
}
