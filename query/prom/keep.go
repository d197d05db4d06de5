package prom

import (
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/headgate-io/headgate/query"
)

// The bounds of max_age, and how long ago a range must have ended for its answers to be kept unasked: those of
// POST /api/v1/query.
const (
	mostAge = time.Minute
	settled = time.Minute
)

// oldest returns how old an answer may be that is given again to this request, which is for the values up to end.
func (r *request) oldest(end string) (time.Duration, error) {
	if s := r.param("max_age"); s != "" {
		d, err := parseDuration(s)
		if err != nil || d < 0 || d > mostAge {
			return 0, badData("invalid parameter \"max_age\": %.40q: want a duration from 0s to 60s", s)
		}
		return d, nil
	}
	at, err := parseTime(end)
	if err != nil || r.relative || r.handler.opts.Now().Sub(at) < settled {
		return 0, nil
	}
	expr, err := r.expression()
	if err != nil || ahead(expr) {
		return 0, nil //nolint:nilerr // the endpoint says what is wrong
	}
	return r.handler.opts.MaxAge, nil
}

// ahead reports whether expr may read what comes after the time that it is evaluated for.
func ahead(expr parser.Expr) (yes bool) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			yes = yes || n.OriginalOffset < 0 || n.Timestamp != nil
		case *parser.SubqueryExpr:
			yes = yes || n.OriginalOffset < 0 || n.Timestamp != nil
		}
		return nil
	})
	return yes
}

// kept makes an endpoint answer again what it answered a short time ago to callers of the same tenants. endParam is the
// parameter with the time that its values end.
//
// SECURITY: the scope is part of the key, in query.Reader.Within. Everything else that an answer depends on is in asked: all
// parameters, and of a question its text and variables.
func kept(endParam string, serve endpoint) endpoint {
	return func(r *request) (answer, error) {
		age, err := r.oldest(r.param(endParam))
		if err != nil {
			return answer{}, err
		}
		if age > 0 && r.param(endParam) == "" {
			// What is asked within this time asks for the same moment.
			r.Form.Set(endParam, r.handler.opts.Now().Truncate(age).UTC().Format(time.RFC3339Nano))
		}
		asked := r.Form.Encode()
		if r.bound {
			form := r.Form["query"]
			r.Form["query"] = nil // has marks of this request alone
			asked = r.Form.Encode() + "\x00" + r.asked
			r.Form["query"] = form
		}
		body, old, land, err := r.handler.reader.Within(r.Context(), r.scope, "promql\x00"+endParam+"\x00"+asked, age)
		if err != nil {
			return answer{}, err
		}
		if body != nil {
			return answer{kept: body, age: old}, nil
		}
		handed := false
		if land != nil {
			defer func() {
				if !handed {
					land(nil)
				}
			}()
		}
		a, err := serve(r)
		if err == nil {
			a.land, handed = land, true
		}
		return a, err
	}
}

// keeper writes an answer to w once it is whole, or once it is too long to be kept, and hands it to land.
type keeper struct {
	w    http.ResponseWriter
	land func([]byte)
	buf  []byte
	over bool // longer: what follows is written at once
}

// Write implements io.Writer.
func (k *keeper) Write(p []byte) (int, error) {
	if k.over {
		return k.w.Write(p)
	}
	if len(k.buf)+len(p) <= query.MaxKept {
		k.buf = append(k.buf, p...)
		return len(p), nil
	}
	k.over = true
	k.land(nil)
	if _, err := k.w.Write(k.buf); err != nil {
		return 0, err
	}
	return k.w.Write(p)
}

// end is called after the last Write: who takes the answer slowly lets nobody wait.
func (k *keeper) end() {
	if !k.over {
		k.land(k.buf)
		_, _ = k.w.Write(k.buf) // an error means that the client is gone
	}
}
