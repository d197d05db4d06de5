package prom

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/headgate-io/headgate/query/oql"
)

// bind parses the text and gives its variables their values. A variable may stand
//
//   - for the text of a matcher of a label other than __name__: a string, and after =~ and !~, where a string is a regular expression, a list
//     too, which matches its items as they are;
//   - for a number, wherever an expression may be one: an int, a float, or a duration, which is its seconds;
//   - for the range or the step of a selection, or its offset: a duration.
//
// It stands for nothing else: no name of a metric, a label or a function, no text that a function takes, no time after @. Errors are
// *oql.Error.
//
// SECURITY: what is parsed has no value in it. Values are put into literals of the tree, and a variable whose placeholder became anything
// but one literal of those is refused, so no value can become another part of a query whatever it holds.
func (t *template) bind(p parser.Parser) (parser.Expr, error) {
	expr, err := parse(p, t.text)
	if err != nil {
		return nil, t.unread(err)
	}
	var failed error
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if failed == nil {
			failed = t.bindNode(node)
		}
		return nil
	})
	if failed != nil {
		return nil, failed
	}
	for _, pl := range t.places {
		if pl.bound != 1 {
			return nil, t.misplaced(pl)
		}
	}
	return expr, nil
}

// misplaced says that a variable stands where none may.
func (t *template) misplaced(p *place) error {
	want := "a number, or is a duration, of which it would be the seconds"
	switch p.value.Type() {
	case oql.VarString:
		want = "the text of a matcher of a label, as in {job=$" + p.name + "}"
	case oql.VarList:
		want = "the text of a matcher of a label with =~ or !~"
	case oql.VarInt, oql.VarFloat:
		want = "a number of an expression"
	case oql.VarDuration:
		want = "a range, a step, an offset or a number"
	}
	return oql.ErrorAt(t.source, p.off, "the variable $%s cannot stand here: a %s stands for %s", p.name, p.value.Type(), want)
}

// bindNode binds the variables of one node. Nodes of kinds that it does not know have none: a variable in them stays unbound, which bind
// refuses.
func (t *template) bindNode(node parser.Node) error {
	switch n := node.(type) {
	case *parser.NumberLiteral:
		return t.bindNumber(n)
	case *parser.VectorSelector:
		for i, m := range n.LabelMatchers {
			bound, err := t.bindMatcher(m)
			if err != nil {
				return err
			}
			n.LabelMatchers[i] = bound
		}
		if len(t.places) > 0 && !n.BypassEmptyMatcherCheck && matchesAll(n.LabelMatchers, labels.EmptyLabels()) {
			return oql.ErrorAt(t.source, t.places[0].off, "with these values a selector matches everything: it needs a matcher that does not match an empty text")
		}
		return t.bindDuration(&n.OriginalOffset, false)
	case *parser.MatrixSelector:
		return t.bindDuration(&n.Range, true)
	case *parser.SubqueryExpr:
		for _, d := range []*time.Duration{&n.Range, &n.Step} {
			if err := t.bindDuration(d, true); err != nil {
				return err
			}
		}
		return t.bindDuration(&n.OriginalOffset, false)
	}
	return nil
}

// bindNumber binds a number. Minus signs before it have made its placeholder, which is 1 or so many seconds, negative.
func (t *template) bindNumber(n *parser.NumberLiteral) error {
	for _, p := range t.places {
		if int(n.PosRange.End) != p.end {
			continue
		}
		sign := 1.0
		if n.Val < 0 {
			sign = -1
		}
		for _, v := range p.value.Literals() {
			switch v := v.(type) {
			case int64:
				n.Val = sign * float64(v)
			case float64:
				n.Val = sign * v
			case time.Duration:
				n.Val = sign * v.Seconds()
			}
		}
		n.Duration = false
		p.bound++
	}
	return nil
}

func (t *template) bindMatcher(m *labels.Matcher) (*labels.Matcher, error) {
	for _, p := range t.places {
		if p.mark == "" || m.Value != p.mark {
			continue
		}
		isRegexp := m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp
		if m.Name == model.MetricNameLabel || p.value.Type() == oql.VarList && !isRegexp {
			return nil, t.misplaced(p)
		}
		p.bound++
		if p.value.IsSample() {
			return m, nil
		}
		var items []string
		for _, v := range p.value.Literals() {
			items = append(items, fmt.Sprint(v))
		}
		text := items[0]
		if p.value.Type() == oql.VarList {
			for i, item := range items {
				items[i] = regexp.QuoteMeta(item)
			}
			text = strings.Join(items, "|")
		}
		bound, err := labels.NewMatcher(m.Type, m.Name, text)
		if err != nil {
			return nil, oql.ErrorAt(t.source, p.off, "the value of $%s: %v", p.name, err)
		}
		return bound, nil
	}
	return m, nil
}

// bindDuration binds a duration of a selection; positive ones cannot be 0 or less.
func (t *template) bindDuration(d *time.Duration, positive bool) error {
	for _, p := range t.places {
		if p.span == 0 || d.Abs() != p.span {
			continue
		}
		negative := *d < 0
		p.bound++
		for _, v := range p.value.Literals() {
			span, ok := v.(time.Duration)
			if !ok || span%time.Millisecond != 0 || positive && span <= 0 {
				return oql.ErrorAt(t.source, p.off, "the value of $%s: want whole milliseconds, of a range or a step 1 or more", p.name)
			}
			if *d = span; negative {
				*d = -span
			}
		}
		break // the value may be another's placeholder
	}
	return nil
}

// bound is the parser of a text that was parsed before.
type bound struct {
	parser.Parser
	expr parser.Expr
}

// ParseExpr implements parser.Parser.
func (b bound) ParseExpr(string) (parser.Expr, error) { return b.expr, nil }
