package prom

import (
	"bufio"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// writer writes JSON as the Prometheus API documents it. An error of writing means that the client is gone: the rest is
// thrown away.
type writer struct {
	w   *bufio.Writer
	buf []byte
}

func (w *writer) raw(s string) { _, _ = w.w.WriteString(s) }
func (w *writer) flush()       { _ = w.w.Flush() }

// append writes what f appends to an empty buffer.
func (w *writer) append(f func([]byte) []byte) {
	w.buf = f(w.buf[:0])
	_, _ = w.w.Write(w.buf)
}

// texts writes an array of strings.
func (w *writer) texts(list []string) {
	w.append(func(b []byte) []byte {
		b = append(b, '[')
		for i, s := range list {
			b = comma(b, i)
			b = appendText(b, s)
		}
		return append(b, ']')
	})
}

// value writes v as encoding/json does.
func (w *writer) value(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: answer: " + err.Error())
	}
	_, _ = w.w.Write(b)
}

// list writes an array of n elements, each as one appends it.
func (w *writer) list(n int, one func(b []byte, i int) []byte) {
	w.raw("[")
	for i := range n {
		w.append(func(b []byte) []byte { return one(comma(b, i), i) })
	}
	w.raw("]")
}

// result writes the value of an expression.
func (w *writer) result(v parser.Value) {
	switch v := v.(type) {
	case promql.Matrix:
		w.list(len(v), func(b []byte, i int) []byte { return appendSeries(b, v[i]) })
	case promql.Vector:
		w.list(len(v), func(b []byte, i int) []byte { return appendSample(b, v[i]) })
	case promql.Scalar:
		w.append(func(b []byte) []byte { return appendFloatPoint(b, promql.FPoint{T: v.T, F: v.V}) })
	case promql.String:
		w.append(func(b []byte) []byte {
			b = append(appendTime(append(b, '['), v.T), ',')
			return append(appendText(b, v.V), ']')
		})
	}
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendSeries(b []byte, s promql.Series) []byte {
	b = appendLabels(append(b, `{"metric":`...), s.Metric)
	if len(s.Floats) > 0 {
		b = append(b, `,"values":[`...)
		for i, p := range s.Floats {
			b = appendFloatPoint(comma(b, i), p)
		}
		b = append(b, ']')
	}
	if len(s.Histograms) > 0 {
		b = append(b, `,"histograms":[`...)
		for i, p := range s.Histograms {
			b = append(appendTime(append(comma(b, i), '['), p.T), ',')
			b = append(appendHistogram(b, p.H), ']')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendSample(b []byte, s promql.Sample) []byte {
	b = appendLabels(append(b, `{"metric":`...), s.Metric)
	if s.H == nil {
		return append(appendFloatPoint(append(b, `,"value":`...), promql.FPoint{T: s.T, F: s.F}), '}')
	}
	b = append(appendTime(append(b, `,"histogram":[`...), s.T), ',')
	return append(appendHistogram(b, s.H), "]}"...)
}

func appendFloatPoint(b []byte, p promql.FPoint) []byte {
	b = append(appendTime(append(b, '['), p.T), ',')
	return append(appendFloat(b, p.F), ']')
}

// appendTime writes milliseconds as seconds.
func appendTime(b []byte, t int64) []byte {
	if t < 0 {
		b, t = append(b, '-'), -t
	}
	b = strconv.AppendInt(b, t/1000, 10)
	if ms := t % 1000; ms != 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return b
}

// appendFloat writes a quoted number: JSON has no NaN and no infinities.
func appendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return append(strconv.AppendFloat(append(b, '"'), f, format, -1, 64), '"')
}

// appendHistogram writes count, sum and the buckets that are not empty: which of their ends are in, the ends, the count.
func appendHistogram(b []byte, h *histogram.FloatHistogram) []byte {
	b = appendFloat(append(b, `{"count":`...), h.Count)
	b = appendFloat(append(b, `,"sum":`...), h.Sum)
	n := 0
	for it := h.AllBucketIterator(); it.Next(); {
		bucket := it.At()
		if bucket.Count == 0 {
			continue
		}
		if n == 0 {
			b = append(b, `,"buckets":[`...)
		}
		b = append(comma(b, n), '[', ends(bucket.LowerInclusive, bucket.UpperInclusive))
		for _, f := range []float64{bucket.Lower, bucket.Upper, bucket.Count} {
			b = appendFloat(append(b, ','), f)
		}
		b = append(b, ']')
		n++
	}
	if n > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func ends(lower, upper bool) byte {
	switch {
	case lower && upper:
		return '3'
	case lower:
		return '1'
	case upper:
		return '0'
	}
	return '2'
}

func appendLabels(b []byte, lbls labels.Labels) []byte {
	b = append(b, '{')
	n := 0
	lbls.Range(func(l labels.Label) {
		b = append(appendText(comma(b, n), l.Name), ':')
		b = appendText(b, l.Value)
		n++
	})
	return append(b, '}')
}

// appendText writes a JSON string. Labels are UTF-8; should one not be, its bytes are replaced.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
