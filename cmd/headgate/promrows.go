package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// promAnswer is an answer of the Prometheus API to a query.
type promAnswer struct {
	Data struct {
		ResultType string
		Result     json.RawMessage
	}
	Warnings, Infos []string
}

// promSeries is a series of a result: of an instant Value or Histogram, of a range Values and Histograms.
type promSeries struct {
	Metric     map[string]string
	Value      *promPoint
	Histogram  *promPoint
	Values     []promPoint
	Histograms []promPoint
}

// promPoint is a time in Unix seconds, and a number as a text or a histogram.
type promPoint [2]json.RawMessage

// promRows makes rows in NDJSON of an answer of the Prometheus API: one for each value, with the labels of all series as columns. What
// the answer warns of goes to notes.
func promRows(body io.Reader, notes io.Writer) (io.Reader, error) {
	var a promAnswer
	if err := json.NewDecoder(body).Decode(&a); err != nil {
		return nil, fmt.Errorf("the result was cut off: %w", err)
	}
	for _, text := range append(a.Warnings, a.Infos...) {
		fmt.Fprintln(notes, oneLine(text))
	}
	var found []promSeries
	switch a.Data.ResultType {
	case "vector", "matrix":
		if err := json.Unmarshal(a.Data.Result, &found); err != nil {
			return nil, fmt.Errorf("the result is not series: %w", err)
		}
	default: // one point without labels
		one := promSeries{Value: &promPoint{}}
		if err := json.Unmarshal(a.Data.Result, one.Value); err != nil {
			return nil, fmt.Errorf("the result is not a value: %w", err)
		}
		found = append(found, one)
	}
	labels := map[string]bool{}
	for _, s := range found {
		for name := range s.Metric {
			labels[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(labels)) // __name__ comes before those in lower case
	var out bytes.Buffer
	for _, s := range found {
		for _, p := range append(s.Values, s.Histograms...) {
			p.row(&out, names, s.Metric, true)
		}
		for _, p := range []*promPoint{s.Value, s.Histogram} {
			if p != nil {
				p.row(&out, names, s.Metric, false)
			}
		}
	}
	return &out, nil
}

// row writes a point as a JSON object on a line.
func (p promPoint) row(out *bytes.Buffer, names []string, metric map[string]string, timed bool) {
	out.WriteByte('{')
	if timed {
		var seconds float64
		_ = json.Unmarshal(p[0], &seconds) // it is a number, or the row says 1970
		at := time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
		fmt.Fprintf(out, `"time":%q,`, at.Format(time.RFC3339Nano))
	}
	for _, name := range names {
		fmt.Fprintf(out, "%s:%s,", quotedJSON(name), quotedJSON(metric[name]))
	}
	fmt.Fprintf(out, "\"value\":%s}\n", p.value())
}

// value is the number as JSON where JSON has it, else a text; of a histogram its count and sum.
func (p promPoint) value() string {
	var text string
	if json.Unmarshal(p[1], &text) == nil {
		if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) && json.Valid([]byte(text)) {
			return text
		}
		return quotedJSON(text)
	}
	var h struct{ Count, Sum string }
	_ = json.Unmarshal(p[1], &h) // what it lacks is empty
	return quotedJSON("count " + h.Count + ", sum " + h.Sum)
}

func quotedJSON(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a text is no JSON: " + err.Error())
	}
	return string(raw)
}
