package prom

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/promql/parser"
)

// maxDepth is how deep an expression may nest; a chain of operators nests as deep as it is long. maxJoints is how many
// operators, parentheses and calls its text may have.
//
// SECURITY: no timeout ends the parser, nor what takes an expression apart after it. The parser's work grows with the square
// of the depth; format_query writes the whole text out at each level, and its work with the cube: 2 KiB of 1+1+1+… took 19 s.
const (
	maxDepth  = 128
	maxJoints = 2000
)

// boundError says which bound of an expression's shape a text is beyond.
type boundError string

// Error implements error.
func (e boundError) Error() string { return string(e) }

// parse parses a text within the bounds. Errors are boundError and the parser's.
func parse(p parser.Parser, text string) (parser.Expr, error) {
	if joints(text) > maxJoints {
		return nil, boundError(fmt.Sprintf("the query has more than %d operators and parentheses: write it in parts", maxJoints))
	}
	expr, err := p.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	if deeper(expr, maxDepth) {
		return nil, boundError(fmt.Sprintf("the query is nested more than %d deep: write it in parts", maxDepth))
	}
	return expr, nil
}

// expression parses the parameter query.
func (r *request) expression() (parser.Expr, error) {
	expr, err := parse(r.parser, r.param("query"))
	var bound boundError
	switch {
	case errors.As(err, &bound):
		return nil, badData("%s", string(bound))
	case err != nil:
		return nil, badParam("query", err)
	}
	return expr, nil
}

// joints counts what can make an expression deep.
func joints(text string) (n int) {
	lex := parser.Lex(text)
	for {
		var item parser.Item
		lex.NextItem(&item)
		switch {
		case item.Typ == parser.EOF || item.Typ == parser.ERROR:
			return n
		case item.Typ == parser.LEFT_PAREN || item.Typ == parser.LEFT_BRACKET || item.Typ.IsOperator():
			n++
		}
	}
}

// deeper reports whether there are more than so many levels below and with node.
func deeper(node parser.Node, levels int) bool {
	if levels == 0 {
		return true
	}
	for child := range parser.ChildrenIter(node) {
		if child != nil && deeper(child, levels-1) {
			return true
		}
	}
	return false
}
