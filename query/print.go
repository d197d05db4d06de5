package query

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/plan"
)

// maxLevels bounds how deep subqueries nest in a statement.
const maxLevels = 60

// idSet is a set of column ids. The id of a map column of the source, negated, stands for the keys of the map alone: to read
// them costs a tenth of reading the map.
type idSet map[int]bool

// keysID is the id under which the keys of c are asked for: c's own if they cannot be read alone.
func keysID(c *plan.Column) int {
	if c.Key != "" {
		return -c.ID
	}
	return c.ID
}

func idName(id int) string {
	if id < 0 {
		return "k" + strconv.Itoa(-id)
	}
	return "c" + strconv.Itoa(id)
}

// printer holds one statement in the making.
type printer struct {
	plan   *plan.Plan
	bounds Bounds
	params *params
	*aliases

	// parameters that every scan uses; last is the last moment before end
	tenants, partitions, start, end, last string
}

// aliases counts what all pipelines of a statement share.
type aliases struct {
	levels int // subqueries so far
	n      int // names of the sides of joins
}

// Print makes the statement of p for the tenants of scope. It fails on the zero scope, on bounds that are none, with
// ErrTooComplex on a plan that is too large, and on a plan that was not made by package plan.
func Print(p *plan.Plan, scope tenant.Scope, b Bounds) (Stmt, error) {
	// SECURITY: a scope that auth did not make reads nothing.
	if !scope.Valid() {
		return Stmt{}, errors.New("print: no tenant in scope")
	}
	if p == nil {
		return Stmt{}, errors.New("print: no plan")
	}
	if err := b.validate(); err != nil {
		return Stmt{}, err
	}
	pr := &printer{plan: p, bounds: b, params: newParams(), aliases: &aliases{}}
	pr.of(scope)
	from, until := b.scanned()
	pr.start, pr.end, pr.last = pr.time(from), pr.time(until), pr.time(until.Add(-1))
	pr.params.bytes = 0 // the cap is on what the query binds
	sql, err := pr.statement()
	if err != nil {
		return Stmt{}, err
	}
	if len(sql) > maxStatementBytes {
		return Stmt{}, fmt.Errorf("%w: its statement takes %d bytes of at most %d", ErrTooComplex, len(sql), maxStatementBytes)
	}
	if pr.params.bytes > maxBoundBytes {
		return Stmt{}, fmt.Errorf("%w: its values take %d bytes of at most %d", ErrTooComplex, pr.params.bytes, maxBoundBytes)
	}
	st := Stmt{sql: sql, params: pr.params.values, limit: b.Limit, scope: scope, named: b.Named, list: newList(p, scope, b)}
	for _, c := range p.Output {
		st.columns = append(st.columns, Column{Name: c.Name, Type: c.Type.String()})
	}
	return st, nil
}

// of says whose rows are read.
func (p *printer) of(s tenant.Scope) {
	p.tenants, p.partitions = p.params.texts(s.Strings()), p.params.texts(s.Partitions())
}

// name is the SQL name of a column. It is made of a number, never of what a user called it.
func name(c *plan.Column) string { return idName(c.ID) }

// step is a stage with what it leaves to the stages after it.
type step struct {
	stage plan.Stage
	order []plan.Key // order in force after the stage
	need  idSet      // columns that later stages use
}

// steps splits off the conditions that the scan can check and finds out which columns each stage has to pass on, when out
// are those wanted at the end. The returned set is what the scan has to yield.
func (p *printer) steps(stages []plan.Stage, out idSet) (steps []step, push []*plan.Expr, scan idSet) {
	early := true // nothing has been cut off or grouped yet, so a condition commutes with the stages before it
	var order []plan.Key
	for _, s := range stages {
		switch s := s.(type) {
		case plan.Where:
			for _, c := range conjuncts(s.Cond) {
				if early && ofSource(c) {
					push = append(push, c)
				} else {
					steps = append(steps, step{stage: plan.Where{Cond: c}, order: order})
				}
			}
			continue
		case plan.Summarize:
			early, order = false, nil
		case plan.Union:
			early, order = false, nil
		case plan.Limit:
			early = false
		case plan.Sort:
			order = s.Keys
		}
		steps = append(steps, step{stage: s, order: order})
	}
	need := out.clone()
	for i := len(steps) - 1; i >= 0; i-- {
		steps[i].need = need.clone()
		switch s := steps[i].stage.(type) {
		case plan.Where:
			need.addRefs(s.Cond)
		case plan.Extend:
			for _, d := range s.Defs {
				if need[d.Col.ID] {
					delete(need, d.Col.ID)
					need.addRefs(d.Expr)
				}
			}
		case plan.Summarize:
			need = idSet{}
			for _, c := range s.By {
				need[c.ID] = true
			}
			for _, a := range s.Aggs {
				need.addRefs(a.Arg)
				if a.By != nil {
					need[a.By.ID] = true
				}
			}
		case plan.Limit:
			need.addKeys(steps[i].order)
		case plan.Keys:
			delete(need, s.Col.ID)
			need[keysID(s.Of)] = true
		case plan.Join:
			for _, c := range s.Cols {
				delete(need, c.Col.ID)
			}
			for _, k := range s.On {
				need[k.Left.ID] = true
			}
		case plan.Union:
			above := need
			need = idSet{}
			for _, m := range s.Cols {
				if above[m.Col.ID] && m.Left != nil {
					need[m.Left.ID] = true
				}
			}
		}
	}
	return steps, push, need
}

func (s idSet) addKeys(keys []plan.Key) {
	for _, k := range keys {
		s[k.Col.ID] = true
	}
}

func (s idSet) addRefs(e *plan.Expr) {
	if e == nil {
		return
	}
	switch {
	case e.Op == plan.Ref:
		s[e.Col.ID] = true
		return
	case e.Op == plan.Has && e.Args[0].Op == plan.Ref:
		s[keysID(e.Args[0].Col)] = true
		return
	}
	for _, a := range e.Args {
		s.addRefs(a)
	}
}

func (s idSet) clone() idSet {
	out := make(idSet, len(s))
	for id := range s {
		out[id] = true
	}
	return out
}

// list prints the columns of s in order of their ids.
func (s idSet) list() []string {
	ids := make([]int, 0, len(s))
	for id := range s {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = idName(id)
	}
	return out
}

// selectList never is empty: SELECT wants something.
func selectList(columns []string) string {
	if len(columns) == 0 {
		return "1 AS c0"
	}
	return strings.Join(columns, ", ")
}

// pipeline prints the scan and one subquery per stage around it; out are the columns that it has to yield.
func (p *printer) pipeline(stages []plan.Stage, out idSet) (string, error) {
	steps, push, need := p.steps(stages, out)
	from, err := p.scan(need, push)
	if err != nil {
		return "", err
	}
	for _, s := range steps {
		if from, err = p.level(from, s); err != nil {
			return "", err
		}
	}
	return from, nil
}

// statement prints the pipeline and the outer SELECT.
func (p *printer) statement() (string, error) {
	order := p.plan.Order()
	need := idSet{}
	need.addKeys(order)
	for _, c := range p.plan.Output {
		need[c.ID] = true
	}
	most, stages := p.bounds.Limit, p.plan.Stages
	switch {
	case p.bounds.sent > 0:
		most = p.bounds.sent
	case !p.bounds.Named:
		most++ // one more than asked for shows that the result was cut
	}
	// Limits at the end are the statement's own.
	for len(stages) > 0 {
		last, ok := stages[len(stages)-1].(plan.Limit)
		if !ok {
			break
		}
		most, stages = min(most, last.N), stages[:len(stages)-1]
	}
	from, err := p.pipeline(stages, need)
	if err != nil {
		return "", err
	}
	list := make([]string, len(p.plan.Output))
	for i, c := range p.plan.Output {
		list[i] = p.output(c) + " AS " + p.outputName(i, c)
	}
	if p.bounds.paged {
		list = append(list, "toUnixTimestamp64Nano("+name(p.plan.Time())+") AS rt")
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + from + orderBy(order) + " LIMIT " + strconv.Itoa(most), nil
}

// level prints a stage around the subquery from.
func (p *printer) level(from string, s step) (string, error) {
	x := exprPrinter{printer: p}
	pass := s.need.clone()
	var computed []string
	tail := ""
	switch st := s.stage.(type) {
	case plan.Where:
		c, err := x.print(st.Cond)
		if err != nil {
			return "", err
		}
		tail = " WHERE " + c
	case plan.Extend:
		for _, d := range st.Defs {
			if !s.need[d.Col.ID] {
				continue
			}
			e, err := x.print(d.Expr)
			if err != nil {
				return "", err
			}
			delete(pass, d.Col.ID)
			computed = append(computed, e+" AS "+name(d.Col))
		}
		if computed == nil {
			return from, nil
		}
	case plan.Summarize:
		var err error
		if pass, computed, tail, err = x.summarize(st); err != nil {
			return "", err
		}
	case plan.Keys:
		delete(pass, st.Col.ID)
		computed = append(computed, "arrayJoin("+x.keys(st.Of)+") AS "+name(st.Col))
	case plan.Limit:
		tail = orderBy(s.order) + " LIMIT " + strconv.Itoa(st.N)
	case plan.Sort:
		return from, nil
	case plan.Join, plan.Union:
		if p.levels++; p.levels > maxLevels {
			return "", tooDeep()
		}
		if j, ok := st.(plan.Join); ok {
			return p.join(from, j, s.need)
		}
		return p.union(from, st.(plan.Union), s.need)
	default:
		return "", fmt.Errorf("BUG: no SQL for stage %T", st)
	}
	if p.levels++; p.levels > maxLevels {
		return "", fmt.Errorf("%w: more than %d steps build on each other", ErrTooComplex, maxLevels)
	}
	return "(SELECT " + selectList(append(pass.list(), computed...)) + " FROM " + from + tail + ")", nil
}

func tooDeep() error {
	return fmt.Errorf("%w: more than %d steps build on each other", ErrTooComplex, maxLevels)
}

func orderBy(keys []plan.Key) string {
	if len(keys) == 0 {
		return ""
	}
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = name(k.Col)
		if k.Desc {
			out[i] += " DESC"
		}
		if k.Col.Nullable {
			out[i] += " NULLS LAST"
		}
	}
	return " ORDER BY " + strings.Join(out, ", ")
}

// output prints a column as results show it.
func (p *printer) output(c *plan.Column) string {
	switch c.Type {
	case plan.Severity:
		return severityName(name(c), c.Nullable)
	case plan.Bool:
		if c.Nullable {
			return "CAST(" + name(c) + ", 'Nullable(Bool)')"
		}
		return "CAST(" + name(c) + ", 'Bool')"
	default:
		return name(c)
	}
}

// outputName names a column of the result. The names of JSON and CSV are added in Go; for Parquet and Arrow, which
// ClickHouse writes, they have to stand in the SQL.
//
// SECURITY: such a name keeps only letters, digits, '_' and '.', is quoted, and stands at the outermost level, where no
// condition could see it.
func (p *printer) outputName(i int, c *plan.Column) string {
	if !p.bounds.Named {
		return "r" + strconv.Itoa(i+1)
	}
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, c.Name)
	for _, other := range p.plan.Output[:i] {
		if strings.EqualFold(other.Name, clean) {
			clean += "_" + strconv.Itoa(i+1)
			break
		}
	}
	return "`" + clean + "`"
}
