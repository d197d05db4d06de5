package otlp

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// messageNames has the messages as the protocol names them; ProfileLink is its second Link.
var messageNames = map[jsonMsg]string{
	jsonRequest + jsonMsg(Logs): "ExportLogsServiceRequest", jsonRequest + jsonMsg(Traces): "ExportTraceServiceRequest",
	jsonRequest + jsonMsg(Metrics): "ExportMetricsServiceRequest",
	jsonResourceLogs:               "ResourceLogs", jsonResourceSpans: "ResourceSpans", jsonResourceMetrics: "ResourceMetrics",
	jsonScopeLogs: "ScopeLogs", jsonScopeSpans: "ScopeSpans", jsonScopeMetrics: "ScopeMetrics",
	jsonResource: "Resource", jsonEntityRef: "EntityRef", jsonScope: "InstrumentationScope",
	jsonKeyValue: "KeyValue", jsonAnyValue: "AnyValue", jsonArray: "ArrayValue", jsonMap: "KeyValueList",
	jsonLog: "LogRecord", jsonSpan: "Span", jsonEvent: "Event", jsonLink: "Link", jsonStatus: "Status",
	jsonMetric: "Metric", jsonGauge: "Gauge", jsonSum: "Sum", jsonHistogram: "Histogram",
	jsonExpHistogram: "ExponentialHistogram", jsonSummary: "Summary", jsonNumberPoint: "NumberDataPoint",
	jsonHistogramPoint: "HistogramDataPoint", jsonExpPoint: "ExponentialHistogramDataPoint", jsonBuckets: "Buckets",
	jsonSummaryPoint: "SummaryDataPoint", jsonQuantile: "ValueAtQuantile", jsonExemplar: "Exemplar",
	jsonRequest + jsonMsg(Profiles): "ExportProfilesServiceRequest", jsonResourceProfiles: "ResourceProfiles",
	jsonScopeProfiles: "ScopeProfiles", jsonProfile: "Profile", jsonSample: "Sample", jsonValueType: "ValueType",
	jsonDictionary: "ProfilesDictionary", jsonMapping: "Mapping", jsonLocation: "Location", jsonLine: "Line",
	jsonFunction: "Function", jsonProfileLink: "ProfileLink", jsonAttribute: "KeyValueAndUnit", jsonStack: "Stack",
}

var (
	fidelityLine = regexp.MustCompile("(?m)^\\| `(\\w+\\.\\w+)` \\| (.*?) \\|")
	columnName   = regexp.MustCompile("`(\\*|otel_[a-z_*]+)\\.([A-Za-z.]+)`")
	capital      = regexp.MustCompile("[A-Z]")
)

func readFidelity(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// docs/fidelity.md has one line for each field that a request can have, and no other.
func TestFidelityHasALineForEveryField(t *testing.T) {
	var want, got []string
	seen := map[jsonMsg]bool{}
	var visit func(m jsonMsg)
	visit = func(m jsonMsg) {
		if seen[m] {
			return
		}
		seen[m] = true
		if messageNames[m] == "" {
			t.Fatalf("message %d has no name here", m)
		}
		for name, f := range jsonSchema[m] {
			if f.kind == jsonPast {
				continue
			}
			want = append(want, messageNames[m]+"."+strings.ToLower(capital.ReplaceAllString(name, "_$0")))
			if f.kind == jsonMessage {
				visit(f.message)
			}
		}
	}
	for _, sig := range []Signal{Logs, Traces, Metrics, Profiles} {
		visit(jsonRequest + jsonMsg(sig))
	}
	for _, line := range fidelityLine.FindAllStringSubmatch(readFidelity(t), -1) {
		got = append(got, line[1])
	}
	slices.Sort(got)
	slices.Sort(want)
	for _, f := range want {
		if n := len(got) - len(slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g == f })); n != 1 {
			t.Errorf("%s has %d lines in docs/fidelity.md", f, n)
		}
	}
	for _, f := range got {
		if !slices.Contains(want, f) {
			t.Errorf("docs/fidelity.md has a line for %s, which OTLP does not have", f)
		}
	}
}

// Each column that docs/fidelity.md names is there, and it names each column of the tables.
func TestFidelityNamesEveryColumn(t *testing.T) {
	named := map[string]map[string]bool{} // by table
	for _, c := range columnName.FindAllStringSubmatch(readFidelity(t), -1) {
		found := false
		for table, columns := range columnsOf() {
			if ok, _ := path.Match(c[1], table); !ok || !columns[c[2]] && c[2] != "RunId" {
				continue
			}
			if named[table] == nil {
				named[table] = map[string]bool{}
			}
			named[table][c[2]], found = true, true
		}
		if !found {
			t.Errorf("docs/fidelity.md names %s.%s, which is not there", c[1], c[2])
		}
	}
	for table, columns := range columnsOf() {
		for c := range columns {
			if !named[table][c] {
				t.Errorf("docs/fidelity.md does not name %s.%s", table, c)
			}
		}
	}
}
