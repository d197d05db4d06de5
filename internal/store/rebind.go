package store

import (
	"strconv"
	"strings"
	"sync"
)

// maxRebound bounds the statements that are remembered. Beyond it they are written again each time, which costs about a
// microsecond: lists of tenants make as many texts as there are lengths.
const maxRebound = 1024

// rebinder turns ? into $1, $2 … for PostgreSQL. It is safe for concurrent use.
type rebinder struct {
	mu   sync.RWMutex // guards done
	done map[string]string
}

func (r *rebinder) rebind(query string) string {
	r.mu.RLock()
	text, ok := r.done[query]
	r.mu.RUnlock()
	if ok {
		return text
	}
	text = number(query)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = map[string]string{}
	}
	if len(r.done) < maxRebound {
		r.done[query] = text
	}
	return text
}

// number writes $1, $2 … for each ? of query that is not in a quoted text, a quoted name or a comment. Doubled quotes are
// two quoted texts to it, which is the same. It knows neither dollar quotes nor E” texts, and so no operator with a ?.
func number(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 16)
	n := 0
	for len(query) > 0 {
		if skip := quoted(query); skip > 0 {
			b.WriteString(query[:skip])
			query = query[skip:]
			continue
		}
		if query[0] == '?' {
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		} else {
			b.WriteByte(query[0])
		}
		query = query[1:]
	}
	return b.String()
}

// quoted returns the length of the quoted text, quoted name or comment that s begins with, 0 if it begins with none.
func quoted(s string) int {
	end := ""
	switch {
	case s[0] == '\'' || s[0] == '"':
		end = s[:1]
	case strings.HasPrefix(s, "--"):
		end = "\n"
	case strings.HasPrefix(s, "/*"):
		end = "*/"
	default:
		return 0
	}
	start := len(end)
	if end == "\n" {
		start = 2
	}
	if i := strings.Index(s[start:], end); i >= 0 {
		return start + i + len(end)
	}
	return len(s)
}
