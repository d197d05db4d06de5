package oql

import "slices"

// What people write from habit, and what it is called here.
var (
	stageAdvice = map[string]string{
		"select": "project", "fields": "project", "keep": "project", "drop": "project-away", "group": "summarize", "stats": "summarize",
		"aggregate": "summarize", "agg": "summarize", "eval": "extend", "let": "extend", "set": "extend", "rename": "project", "dedup": "distinct",
		"uniq": "distinct", "having": "where", "match": "where", "grep": "search", "orderby": "sort", "tail": "sort", "first": "limit", "append": "union",
		"lookup": "join", "mvexpand": "keys", "from": "a source at the start", "in": "where",
	}
	aggAdvice = map[string]string{
		"average": "avg", "mean": "avg", "median": "percentile(x, 50)", "quantile": "percentile(x, 95)", "p50": "percentile(x, 50)",
		"p90": "percentile(x, 90)", "p95": "percentile(x, 95)", "p99": "percentile(x, 99)", "uniq": "dcount", "distinct": "dcount", "cardinality": "dcount",
		"total": "sum", "first": "any", "last": "any", "latest": "any", "topk": "top", "values": "top", "rate": "count() by bin(1m), divided by the width",
	}
	operatorAdvice = map[string]string{
		"like": "~ (text in any case) or =~ (a regular expression)", "ilike": "~ (text in any case) or =~ (a regular expression)",
		"contains": "~", "has": "~", "matches": "=~", "regex": "=~", "rlike": "=~", "is": "== (x == null asks for null)", "eq": "==", "ne": "!=",
		"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "equals": "==", "starts": "startswith", "ends": "endswith", "xor": "!=",
	}
)

// advised is the advice for a word from habit, else the name nearest to it.
func advised(word string, advice map[string]string, names []string) string {
	if a, ok := advice[word]; ok {
		if slices.Contains(names, a) {
			return `, did you mean "` + a + `"`
		}
		return ", write " + a
	}
	return didYouMean(word, names)
}

// operators are the words between two operands.
var operators = []string{"and", "or", "in", "not", "between", "startswith", "endswith"}

// unknownOperator is the error for a word that follows an operand in a condition, nil if there is none.
func (p *parser) unknownOperator() error {
	if p.tok.kind != word || reserved[p.tok.s] {
		return nil
	}
	if hint := advised(p.tok.s, operatorAdvice, operators); hint != "" {
		return p.errorf("unknown operator %q%s", p.tok.s, hint)
	}
	return nil
}
