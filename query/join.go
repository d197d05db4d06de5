package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate-io/headgate/query/plan"
)

// sub returns a printer of another pipeline in the same statement: of the same scope and bounds, with the same parameters.
//
// SECURITY: it copies the printer that holds the scope. There is no other way to start a pipeline, so both sides of a
// join or union read the tenants that the whole statement reads.
func (p *printer) sub(with *plan.Plan) *printer {
	q := *p
	q.plan = with
	return &q
}

// join prints a stage that joins the rows of from with those of its own query.
func (p *printer) join(from string, j plan.Join, need idSet) (string, error) {
	left, inner := need.clone(), idSet{}
	var carried []string
	for _, c := range j.Cols {
		if !need[c.Col.ID] {
			continue
		}
		delete(left, c.Col.ID)
		inner[c.From.ID] = true
		sql := name(c.From)
		if c.Col.Nullable && !c.From.Nullable {
			sql = "toNullable(" + sql + ")" // so that a row without a match has null, not zero
		}
		carried = append(carried, sql+" AS "+name(c.Col))
	}
	on := make([]string, len(j.On))
	list := append(left.list(), carriedNames(j, need)...)
	for i, k := range j.On {
		inner[k.Right.ID] = true
		on[i] = canonical(k.Left) + " = " + canonical(k.Right)
		if s := name(k.Right); !slices.Contains(carried, s) {
			carried = append(carried, s)
		}
	}
	with, err := p.sub(j.With).pipeline(j.With.Stages, inner)
	if err != nil {
		return "", err
	}
	word := map[plan.JoinKind]string{plan.Inner: "INNER", plan.Left: "LEFT"}[j.Kind]
	if word == "" {
		return "", fmt.Errorf("BUG: no SQL for a %q join", string(j.Kind))
	}
	p.aliases.n += 2
	l, r := "j"+strconv.Itoa(p.aliases.n-1), "j"+strconv.Itoa(p.aliases.n)
	return "(SELECT " + selectList(list) + " FROM " + from + " AS " + l + " " + word + " JOIN (SELECT " + strings.Join(carried, ", ") + " FROM " + with + ") AS " + r +
		" ON " + strings.Join(on, " AND ") + ")", nil
}

func carriedNames(j plan.Join, need idSet) []string {
	var out []string
	for _, c := range j.Cols {
		if need[c.Col.ID] {
			out = append(out, name(c.Col))
		}
	}
	return out
}

// union prints a stage that adds the rows of its own query to those of from.
func (p *printer) union(from string, u plan.Union, need idSet) (string, error) {
	var here, there []string
	inner := idSet{}
	for _, m := range u.Cols {
		if !need[m.Col.ID] {
			continue
		}
		l, err := mergedSide(m.Left, m.Col)
		if err != nil {
			return "", err
		}
		r, err := mergedSide(m.Right, m.Col)
		if err != nil {
			return "", err
		}
		here, there = append(here, l+" AS "+name(m.Col)), append(there, r+" AS "+name(m.Col))
		if m.Right != nil {
			inner[m.Right.ID] = true
		}
	}
	if need[u.Arm.ID] {
		here, there = append(here, "0 AS "+name(u.Arm)), append(there, "1 AS "+name(u.Arm))
	}
	with, err := p.sub(u.With).pipeline(u.With.Stages, inner)
	if err != nil {
		return "", err
	}
	return "(SELECT " + selectList(here) + " FROM " + from + " UNION ALL SELECT " + selectList(there) + " FROM " + with + ")", nil
}

// canonical prints a column in the one SQL type that its type has across tables, so that two of a type compare and unite.
func canonical(c *plan.Column) string {
	switch c.Type {
	case plan.String:
		return "toString(" + name(c) + ")"
	case plan.Int, plan.Duration, plan.Severity:
		return "toInt64(" + name(c) + ")"
	case plan.Float:
		return "toFloat64(" + name(c) + ")"
	case plan.Bool:
		return "toUInt8(" + name(c) + ")"
	case plan.Map:
		return "CAST(" + name(c) + ", 'Map(String, String)')"
	default:
		return name(c)
	}
}

// mergedSide prints one side of a merged column.
func mergedSide(c, merged *plan.Column) (string, error) {
	if c != nil {
		return canonical(c), nil
	}
	var sql string
	switch merged.Type {
	case plan.String:
		sql = "CAST(NULL, 'Nullable(String)')"
	case plan.Int, plan.Duration, plan.Severity:
		sql = nullInt
	case plan.Float:
		sql = nullFloat
	case plan.Bool:
		sql = "CAST(NULL, 'Nullable(UInt8)')"
	case plan.Time:
		sql = `CAST(NULL, 'Nullable(DateTime64(9, \'UTC\'))')`
	case plan.Map:
		sql = "CAST(map(), 'Map(String, String)')"
	case plan.List:
		sql = emptyLists[merged.Shape]
	}
	if sql == "" {
		return "", fmt.Errorf("BUG: no empty value for a %s of shape %q", merged.Type, merged.Shape)
	}
	return sql, nil
}
