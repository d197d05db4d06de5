// Package plan is the one tree that every query language of headgate compiles to.
//
// A plan is a source and a list of stages over columns. Each column has an id that is unique in its plan, so stages
// never shadow each other, and a printer can name columns by number: no name that a user chose has to reach SQL.
// Expressions are built by Apply alone, which checks and completes types; a plan made through it prints.
//
// A plan names no tenant and no table. It is pure data: after it is built, reading it concurrently is safe.
package plan

// Source is what a query reads. The list is closed.
type Source string

const (
	Logs    Source = "logs"
	Spans   Source = "spans"
	Metrics Source = "metrics"
)

// Type is the type of a column or expression.
type Type uint8

const (
	Null     Type = iota // the literal null only
	String               // text; attributes are text too
	Int                  // 64-bit integer
	Float                // 64-bit float
	Bool                 // true or false, never null in a condition
	Time                 // nanoseconds since 1970 UTC
	Duration             // nanoseconds
	Severity             // class of a log record: unspecified < trace < … < fatal
	Map                  // text to text
	List                 // anything repeated; can be shown, not computed with
)

var typeNames = [...]string{"null", "string", "int", "float", "bool", "time", "duration", "severity", "map", "list"}

// String returns the name that results and errors use.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// Column is one column at some point of a plan.
type Column struct {
	ID       int    // unique in the plan, from 1
	Name     string // what the user calls it; never part of SQL
	Type     Type
	Nullable bool
	Key      string   // the catalogue name of a source column, "" for a computed one
	Lower    bool     // holds lower-case text; text compared with it is folded
	Values   []string // the closed list of its values, nil if open
	Also     []string // other names by which it is found
	Shape    string   // of a list of the catalogue: the column that it is; lists of one shape have one type
}

// Plan is a checked query.
type Plan struct {
	Source      Source
	MetricNames []string  // for Metrics: only these names; empty means all
	Input       []*Column // the source's columns, in catalogue order
	Stages      []Stage
	Output      []*Column // what the result shows, in order
	Aggregated  bool      // a Summarize stands among the stages
	Limited     bool      // a Limit stands after the last Summarize
	columns     *int      // the last id; shared with the plans of joins and unions
}

// Stage is one step; the list of its kinds is closed.
type Stage interface{ stage() }

// Where keeps the rows for which Cond is true.
type Where struct{ Cond *Expr }

// Extend adds columns. A definition may use columns of earlier stages only.
type Extend struct{ Defs []Def }

// Summarize groups by columns and aggregates; every other column ends here. Without By there is one group, also of no rows.
type Summarize struct {
	By   []*Column
	Aggs []Agg
}

// Keys makes of each row one per key of the map Of, with the key in Col. Rows with an empty map end here.
type Keys struct{ Of, Col *Column }

// Sort sets the order of the rows from here on. Later stages but Summarize and Union keep it.
type Sort struct{ Keys []Key }

// Limit keeps the first N rows of the order in force.
type Limit struct{ N int }

func (Where) stage()     {}
func (Extend) stage()    {}
func (Summarize) stage() {}
func (Keys) stage()      {}
func (Sort) stage()      {}
func (Limit) stage()     {}

// Def gives a column its value.
type Def struct {
	Col  *Column
	Expr *Expr
}

// Key is one sort key.
type Key struct {
	Col  *Column
	Desc bool
}

// New starts a plan of src with the catalogue's columns as input and output. It returns nil for a source that is not in
// the closed list.
func New(src Source) *Plan {
	fields, ok := catalog[src]
	if !ok {
		return nil
	}
	p := &Plan{Source: src, columns: new(int)}
	for _, f := range fields {
		c := p.Column(f.Name, f.Type)
		c.Nullable, c.Key, c.Lower, c.Values, c.Also = f.Nullable, f.Name, f.Lower, f.Values, f.Also
		if f.Type == List {
			c.Shape = f.Name
		}
		p.Input = append(p.Input, c)
	}
	p.Output = p.Input
	return p
}

// Column makes a new column of the plan.
func (p *Plan) Column(name string, t Type) *Column {
	*p.columns++
	return &Column{ID: *p.columns, Name: name, Type: t}
}

// Define makes a new column that holds e. What is known about a plain reference's values is kept.
func (p *Plan) Define(name string, e *Expr) Def {
	c := p.Column(name, e.Type)
	c.Nullable = e.Nullable
	if e.Op == Ref {
		c.Lower, c.Values, c.Shape = e.Col.Lower, e.Col.Values, e.Col.Shape
	}
	if c.Type == Null {
		c.Type, c.Nullable = String, true
	}
	return Def{Col: c, Expr: e}
}

// Time returns the source's time column.
func (p *Plan) Time() *Column { return p.Input[0] }
