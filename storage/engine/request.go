package engine

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// request is one HTTP request, read but for its body.
type request struct {
	text     string // ?query=
	body     io.Reader
	database string
	format   string // default_format
	queryID  string
	params   []param
	settings []param
	readOnly string // "" is not asked for

	compress bool   // answer in ClickHouse's block framing
	method   string // network_compression_method
	gzip     bool
	buffered bool // wait_end_of_query
	revision int  // client_protocol_version
}

// maxStatementBytes bounds the text of a statement without the data that follow it.
const maxStatementBytes = 4 << 20

var (
	settingRe = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	formatRe  = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

// parseRequest reads the URL and the headers of r as ClickHouse's HTTP interface does: what is no parameter of the
// interface is a setting.
func parseRequest(r *http.Request, body *patientReader) (*request, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, exceptionf(codeBadArguments, "URL parameters: %v", err)
	}
	q := &request{
		database: r.Header.Get("X-ClickHouse-Database"),
		format:   r.Header.Get("X-ClickHouse-Format"),
		method:   "LZ4",
	}
	var decompress, compressHTTP bool
	for name, vs := range values {
		v := vs[len(vs)-1]
		switch name {
		case "query":
			q.text = v
		case "database":
			q.database = v
		case "default_format":
			q.format = v
		case "query_id":
			q.queryID = v
		case "compress":
			q.compress = truth(v)
		case "decompress":
			decompress = truth(v)
		case "enable_http_compression":
			compressHTTP = truth(v)
		case "wait_end_of_query":
			q.buffered = truth(v)
		case "client_protocol_version":
			q.revision, _ = strconv.Atoi(v)
		case "user", "password", "quota_key", "buffer_size", "stacktrace":
		case "readonly":
			if q.readOnly = v; v != "0" && v != "1" && v != "2" {
				return nil, exceptionf(codeBadArguments, "setting readonly %q: want 0, 1 or 2", v)
			}
		case "session_id", "session_timeout", "session_check", "role":
			return nil, exceptionf(codeNotImplemented, "the embedded engine does not take the parameter %s", name)
		default:
			switch p, ok := strings.CutPrefix(name, "param_"); {
			case ok:
				q.params = append(q.params, param{p, v})
			case !settingRe.MatchString(name):
				return nil, exceptionf(codeBadArguments, "setting %q: not a name", name)
			default:
				if name == "network_compression_method" {
					q.method = v
				}
				q.settings = append(q.settings, param{name, v})
			}
		}
	}
	if q.format == "" {
		q.format = "TabSeparated"
	}
	if !formatRe.MatchString(q.format) {
		return nil, exceptionf(73, "unknown format %q", q.format)
	}
	// The order of a map is no order: the same request must be the same statement.
	byName := func(a, b param) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(q.settings, byName)
	slices.SortFunc(q.params, byName)
	q.gzip = compressHTTP && acceptsGzip(r)
	if q.body, err = decodeBody(r, body, decompress); err != nil {
		return nil, err
	}
	return q, nil
}

func truth(v string) bool { return v == "1" || strings.EqualFold(v, "true") }

func acceptsGzip(r *http.Request) bool {
	return slices.ContainsFunc(strings.Split(r.Header.Get("Accept-Encoding"), ","), func(s string) bool {
		name, _, _ := strings.Cut(s, ";")
		return strings.EqualFold(strings.TrimSpace(name), "gzip")
	})
}

// setStatement puts the request's settings on a connection, readonly last: what the request asks for, or, for the reader,
// 1 whatever it asks. "" is nothing to set.
func (q *request) setStatement(reader bool) string {
	var b strings.Builder
	for _, s := range q.settings {
		b.WriteString(", " + s.name + " = " + quote(s.value))
	}
	switch {
	case reader:
		b.WriteString(", readonly = 1")
	case q.readOnly != "":
		b.WriteString(", readonly = " + q.readOnly)
	}
	if b.Len() == 0 {
		return ""
	}
	return "SET " + b.String()[2:]
}

// quote makes a ClickHouse string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// quoteName makes a ClickHouse quoted identifier.
func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
