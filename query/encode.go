package query

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/headgate-io/headgate/internal/httpapi"
)

// Format is how a result leaves the query API.
type Format string

const (
	FormatJSON    Format = "json"
	FormatNDJSON  Format = "ndjson"
	FormatCSV     Format = "csv"
	FormatParquet Format = "parquet"
	FormatArrow   Format = "arrow"
)

// mediaTypes names each format as Content-Type.
var mediaTypes = map[Format]string{
	FormatJSON:    "application/json",
	FormatNDJSON:  "application/x-ndjson",
	FormatCSV:     "text/csv; charset=utf-8",
	FormatParquet: "application/vnd.apache.parquet",
	FormatArrow:   "application/vnd.apache.arrow.stream",
}

// encoding is how the engine has to send a result that leaves as f.
func (f Format) encoding() Encoding {
	switch f {
	case FormatParquet:
		return Parquet
	case FormatArrow:
		return Arrow
	default:
		return Rows
	}
}

// encoder writes a result row by row. The values of a row are JSON and are used before the call returns.
type encoder interface {
	row(values [][]byte) error
	// finish ends a complete result, fail one that broke off. fail reports whether the format could say so; if not, the
	// connection has to be broken off.
	finish(r *Result) error
	fail(e *httpapi.Error) bool
}

func newEncoder(f Format, w *bufio.Writer, columns []Column) encoder {
	switch f {
	case FormatNDJSON:
		return &ndjson{w: w, keys: keys(columns)}
	case FormatCSV:
		return newCSV(w, columns)
	default:
		return newDocument(w, columns)
	}
}

// keys are the columns' names as members of an object: a brace or comma, the quoted name, a colon.
func keys(columns []Column) [][]byte {
	out := make([][]byte, len(columns))
	for i, c := range columns {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		out[i] = append(append([]byte{sep}, quoteJSON(c.Name)...), ':')
	}
	return out
}

func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimRight(b.Bytes(), "\n")
}

// writeObject writes values as one object. Errors stick to w.
func writeObject(w *bufio.Writer, keys, values [][]byte) {
	for i, k := range keys {
		_, _ = w.Write(k)
		_, _ = w.Write(values[i])
	}
	_ = w.WriteByte('}')
}

// errorDocument is the error of a result that has begun.
func errorDocument(e *httpapi.Error) []byte {
	doc := map[string]any{"status": e.Status, "code": e.Code, "title": e.Title, "detail": e.Detail}
	for k, v := range e.Extra {
		doc[k] = v
	}
	b, err := json.Marshal(map[string]any{"error": doc})
	if err != nil {
		return []byte(`{"error":{"code":"` + CodeFailed + `"}}`)
	}
	return b
}

// ndjson is one object per row and line. A failure is one more line with the only member "error".
type ndjson struct {
	w    *bufio.Writer
	keys [][]byte
}

func (n *ndjson) row(values [][]byte) error {
	writeObject(n.w, n.keys, values)
	return n.w.WriteByte('\n')
}

func (n *ndjson) finish(*Result) error { return n.w.Flush() }

func (n *ndjson) fail(e *httpapi.Error) bool {
	_, _ = n.w.Write(append(errorDocument(e), '\n'))
	return n.w.Flush() == nil
}

// document is one JSON object: columns in order, rows as objects, then row_count, truncated and next_cursor, or error.
type document struct {
	w    *bufio.Writer
	keys [][]byte
	rows int
}

func newDocument(w *bufio.Writer, columns []Column) *document {
	head, err := json.Marshal(columns)
	if err != nil {
		head = []byte("[]")
	}
	_, _ = w.WriteString(`{"columns":`)
	_, _ = w.Write(head)
	_, _ = w.WriteString(`,"rows":[`)
	return &document{w: w, keys: keys(columns)}
}

func (d *document) row(values [][]byte) error {
	if d.rows++; d.rows > 1 {
		_ = d.w.WriteByte(',')
	}
	err := d.w.WriteByte('\n') // a failed write fails all later ones, so this shows it soon enough
	writeObject(d.w, d.keys, values)
	return err
}

func (d *document) finish(r *Result) error {
	_, _ = d.w.WriteString("\n],\"row_count\":" + strconv.Itoa(r.Count()) + ",\"truncated\":" + strconv.FormatBool(r.Truncated()))
	if next := r.NextCursor(); next != "" {
		_, _ = d.w.WriteString(`,"next_cursor":"` + next + `"`) // base64, which needs no quoting
	}
	if r.stats {
		_, _ = d.w.WriteString(`,"stats":`)
		_, _ = d.w.Write(r.Stats().json())
	}
	_, _ = d.w.WriteString("}\n")
	return d.w.Flush()
}

func (d *document) fail(e *httpapi.Error) bool {
	_, _ = d.w.WriteString("\n],")
	_, _ = d.w.Write(append(errorDocument(e)[1:], '\n'))
	return d.w.Flush() == nil
}

// table is CSV with a header line. Null is empty, a map or list is its JSON text.
type table struct {
	w      *csv.Writer
	record []string
}

func newCSV(w *bufio.Writer, columns []Column) *table {
	t := &table{w: csv.NewWriter(w), record: make([]string, len(columns))}
	for i, c := range columns {
		t.record[i] = c.Name
	}
	_ = t.w.Write(t.record)
	return t
}

func (t *table) row(values [][]byte) error {
	for i, v := range values {
		switch {
		case string(v) == "null":
			t.record[i] = ""
		case len(v) > 0 && v[0] == '"':
			if err := json.Unmarshal(v, &t.record[i]); err != nil {
				return err
			}
		default:
			t.record[i] = string(v)
		}
	}
	return t.w.Write(t.record)
}

func (t *table) finish(*Result) error {
	t.w.Flush()
	return t.w.Error()
}

func (t *table) fail(*httpapi.Error) bool { return false }

// The HTTP trailers of results in rows, for formats that have no place for what they say.
const (
	TruncatedTrailer  = "Headgate-Truncated"   // "true" when the result was cut at its limit
	NextCursorTrailer = "Headgate-Next-Cursor" // where the next page begins, if there is one
	StatsTrailer      = "Headgate-Stats"       // what the query took, in JSON, if the request asks for it
)

// respond streams res to w. The returned error, if any, comes before the first byte of the response.
func respond(w http.ResponseWriter, res *Result, f Format) error {
	if f.encoding() != Rows {
		return respondBytes(w, res, f)
	}
	values, err := res.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	header(w, res, f)
	w.Header().Set("Trailer", strings.Join([]string{TruncatedTrailer, NextCursorTrailer, StatsTrailer}, ", "))
	buf := bufio.NewWriterSize(w, lineBufferBytes)
	enc := newEncoder(f, buf, res.Columns())
	for ; err == nil; values, err = res.Next() {
		if enc.row(values) != nil {
			return nil // the client is gone
		}
	}
	if errors.Is(err, io.EOF) {
		w.Header().Set(TruncatedTrailer, strconv.FormatBool(res.Truncated()))
		if next := res.NextCursor(); next != "" {
			w.Header().Set(NextCursorTrailer, next)
		}
		if res.stats {
			w.Header().Set(StatsTrailer, string(res.Stats().json()))
		}
		if enc.finish(res) == nil {
			_ = buf.Flush() // a client that is gone hears nothing more
		}
		return nil
	}
	var e *httpapi.Error
	if errors.As(err, &e) && enc.fail(e) {
		return nil
	}
	// A CSV reader would take what came so far for the whole.
	panic(http.ErrAbortHandler)
}

// respondBytes passes on a format that the engine writes whole.
func respondBytes(w http.ResponseWriter, res *Result, f Format) error {
	buf := make([]byte, lineBufferBytes)
	n, err := io.ReadAtLeast(res, buf, 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	header(w, res, f)
	if res.stats {
		w.Header().Set("Trailer", StatsTrailer)
		defer func() { w.Header().Set(StatsTrailer, string(res.Stats().json())) }()
	}
	if _, err := w.Write(buf[:n]); err != nil {
		return nil // the client is gone
	}
	if _, err = io.CopyBuffer(w, struct{ io.Reader }{res}, buf); err != nil {
		panic(http.ErrAbortHandler) // the formats end with a footer or mark: what is cut off does not parse
	}
	return nil
}

func header(w http.ResponseWriter, res *Result, f Format) {
	h := w.Header()
	h.Set("Content-Type", mediaTypes[f])
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", res.ID())
	if age := res.Age(); age > 0 {
		h.Set("Age", strconv.Itoa(int(age.Seconds())))
	}
}
