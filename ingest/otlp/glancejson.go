package otlp

import "bytes"

// A JSONGlance is Glance for OTLP/JSON: it looks at the beginning of a body, of which more may come, and knows a bomb by it.
// JSON has no lengths to jump over, so it carries from look to look what it has seen, a few words: no byte is looked at twice.
// It is used by one goroutine.
//
// Honest text is only counted, which costs a fiftieth of translating it: the first bytes and what is dense with objects and
// arrays is read token by token. Who hides records or depth between long strings has its body received whole, as with one
// long string, and is refused by AppendJSON. What is compressed needs no glance: it is inflated as AppendJSON comes to it.
type JSONGlance struct {
	maxRecords int
	sig        Signal

	counted int  // bytes in which objects and arrays were counted
	dense   bool // there were many

	at      int // bytes that were read
	depth   int // objects and arrays that are open there
	records int
	way     []jsonStep // the outer ones of them, as far as they lead to records
	next    jsonField  // where the last key there leads; a message of any kind
	leads   bool
}

// jsonStep is an open object or array on the way to records.
type jsonStep struct {
	message jsonMsg // what it is, or its elements are
	array   bool
}

const (
	// jsonDense is how few bytes there are to an object or array in what is read: attributes with the shortest of keys and values
	// have 18, nested values and records that say nothing 3 to 9.
	jsonDense = 16
	// jsonFirst is read of every body: what is no JSON mostly is not from its beginning.
	jsonFirst = 4 << 10
)

// GlanceJSON begins to look at a body of sig.
func (l Limits) GlanceJSON(sig Signal) *JSONGlance {
	return &JSONGlance{maxRecords: l.records(), sig: sig}
}

// Look looks at the beginning of the body, which is what it was the last time and more, and reports why AppendJSON is sure
// to refuse it whatever follows: ErrTooManyRecords or ErrBadJSON. nil says nothing.
func (g *JSONGlance) Look(beginning []byte) error {
	if !g.dense {
		more := beginning[g.counted:]
		g.counted = len(beginning)
		g.dense = bytes.Count(more, []byte("{"))+bytes.Count(more, []byte("[")) > len(more)/jsonDense
	}
	if !g.dense {
		beginning = beginning[:min(len(beginning), jsonFirst)]
	}
	return g.read(beginning)
}

// read reads on in b, up to a token that does not end there.
func (g *JSONGlance) read(b []byte) error {
	if g.at == 0 {
		if len(b) < len(byteOrderMark) {
			return nil
		}
		if bytes.HasPrefix(b, []byte(byteOrderMark)) {
			g.at = len(byteOrderMark)
		}
	}
	for g.at < len(b) {
		switch c := b[g.at]; c {
		case '{', '[':
			if err := g.open(c); err != nil {
				return err
			}
		case '}', ']':
			if g.depth == 0 {
				return g.malformed("nothing is open")
			}
			if g.depth == len(g.way) {
				g.way = g.way[:g.depth-1]
			}
			g.depth--
			g.leads = false
		case '"':
			if g.depth == 0 {
				return g.malformed("an object is wanted")
			}
			end := jsonStringEnd(b, g.at+1)
			if end < 0 {
				return nil
			}
			if g.depth == len(g.way) {
				g.key(b[g.at+1 : end])
			}
			g.at = end
		default:
			if !jsonPlain[c] || g.depth == 0 && c > ' ' {
				return g.malformed("an object is wanted")
			}
		}
		g.at++
	}
	return nil
}

// open takes note of an object or array that begins.
func (g *JSONGlance) open(c byte) error {
	if g.depth++; g.depth > maxJSONDepth {
		return g.malformed("nested too deep")
	}
	leads := g.leads
	g.leads = false
	if g.depth != len(g.way)+1 {
		return nil
	}
	if g.depth == 1 {
		if c != '{' {
			return g.malformed("an object is wanted")
		}
		g.way = append(g.way, jsonStep{message: jsonRequest + jsonMsg(g.sig)})
		return nil
	}
	in := g.way[len(g.way)-1]
	switch {
	case !in.array:
		if leads && g.next.repeated == (c == '[') {
			g.way = append(g.way, jsonStep{g.next.message, g.next.repeated})
		}
	case c == '{' && in.message.record():
		if g.records++; g.records > g.maxRecords {
			return errTooManyInJSON(g.maxRecords)
		}
	case c == '{':
		g.way = append(g.way, jsonStep{message: in.message})
	}
	return nil
}

// key takes note of a string in the innermost of way, which may be a key.
func (g *JSONGlance) key(name []byte) {
	in := g.way[len(g.way)-1]
	if in.array {
		return
	}
	g.next, g.leads = jsonLookup(in.message, name)
	g.leads = g.leads && g.next.kind == jsonMessage && g.next.message.leadsToRecords()
}

func (g *JSONGlance) malformed(what string) error { return badJSON(g.at, what) }

// jsonStringEnd returns where the quote is that ends the string whose content begins at i, or -1 if it is not in b.
func jsonStringEnd(b []byte, i int) int {
	quote := -1
	for {
		if quote < i {
			n := bytes.IndexByte(b[i:], '"')
			if n < 0 {
				return -1
			}
			quote = i + n
		}
		n := bytes.IndexByte(b[i:quote], '\\')
		if n < 0 {
			return quote
		}
		if i += n + 2; i > len(b) {
			return -1
		}
	}
}

// jsonPlain are the bytes that JSON has outside of strings, but for those of objects and arrays.
var jsonPlain = func() (plain [256]bool) {
	for _, c := range []byte(" \t\n\r:,+-.0123456789eEtrufalsn") {
		plain[c] = true
	}
	return plain
}()

// leadsToRecords reports whether m is a record or may have some in it.
func (m jsonMsg) leadsToRecords() bool {
	switch m {
	case jsonResourceLogs, jsonResourceSpans, jsonResourceMetrics, jsonScopeLogs, jsonScopeSpans, jsonScopeMetrics,
		jsonMetric, jsonGauge, jsonSum, jsonHistogram, jsonExpHistogram, jsonSummary:
		return true
	}
	return m.record()
}
