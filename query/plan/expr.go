package plan

import "time"

// Op is what an expression node does. The list is closed: a printer refuses what it does not know.
type Op string

const (
	Ref Op = "ref" // a column
	Lit Op = "lit" // a value

	Get Op = "get" // map, key: the value, "" if the key is missing
	Has Op = "has" // map, key: whether the key is there

	And Op = "and"
	Or  Op = "or"
	Not Op = "not"

	Eq Op = "=="
	Lt Op = "<"
	Le Op = "<="
	Gt Op = ">"
	Ge Op = ">="
	In Op = "in" // value, list literal

	Contains   Op = "~" // ignores case
	Match      Op = "=~"
	StartsWith Op = "startswith"
	EndsWith   Op = "endswith"
	IsNull     Op = "isnull"

	AnyPair Op = "anypair" // list of maps, key, value: whether one of the maps has the pair
	AnyText Op = "anytext" // list of texts, text: whether it is one of them
	Index   Op = "index"   // text, list literal: the text's place in the list from 1, 0 if it is not there

	Add Op = "+"
	Sub Op = "-"
	Mul Op = "*"
	Div Op = "/"
	Mod Op = "%"
	Neg Op = "neg"

	ToFloat  Op = "float"
	ToInt    Op = "int"
	ToString Op = "string"

	Lower     Op = "tolower"
	Upper     Op = "toupper"
	Length    Op = "strlen"
	Substring Op = "substring" // text, start from 0, length
	Trim      Op = "trim"
	Concat    Op = "concat"
	Replace   Op = "replace" // text, from, to
	Extract   Op = "extract" // regular expression, text
	Coalesce  Op = "coalesce"
	If        Op = "iff"
	Abs       Op = "abs"
	Floor     Op = "floor"
	Ceil      Op = "ceil"
	Round     Op = "round"
	Bin       Op = "bin" // time or number, width; width 0 of a time follows the range
	Now       Op = "now" // args: none, or a duration before now
)

// Expr is a node. Walk its Args to see all of the tree: there are no other children.
type Expr struct {
	Op       Op
	Type     Type
	Nullable bool
	Args     []*Expr
	Col      *Column // of Ref
	Sample   bool    // of Lit: stands for a value that is not known yet; checks of the value itself let it pass
	Value    any     // of Lit: nil, string, int64, uint64, float64, bool, time.Time, time.Duration, []string, []int64, []float64
}

// Use refers to a column.
func Use(c *Column) *Expr { return &Expr{Op: Ref, Type: c.Type, Nullable: c.Nullable, Col: c} }

// Value makes a literal. It panics on a type that Expr.Value does not list: values come from parsers, not from users.
func Value(v any) *Expr {
	e := &Expr{Op: Lit, Value: v}
	switch v := v.(type) {
	case nil:
		e.Type, e.Nullable = Null, true
	case string:
		e.Type = String
	case int64, uint64:
		e.Type = Int
	case int:
		e.Type, e.Value = Int, int64(v)
	case float64:
		e.Type = Float
	case bool:
		e.Type = Bool
	case time.Time:
		e.Type = Time
	case time.Duration:
		e.Type = Duration
	case []string, []int64, []float64:
		e.Type = List
	default:
		panic("BUG: plan: literal of unknown type")
	}
	return e
}

// SampleOf makes a literal that stands for a value like v, for checking a query before its values are known.
func SampleOf(v any) *Expr {
	e := Value(v)
	e.Sample = true
	return e
}

// severityValue is the literal of a severity's rank.
func severityValue(rank int) *Expr { return &Expr{Op: Lit, Type: Severity, Value: int64(rank)} }

// Walk calls f for e and everything below it.
func (e *Expr) Walk(f func(*Expr)) {
	f(e)
	for _, a := range e.Args {
		a.Walk(f)
	}
}

func (e *Expr) isLit() bool { return e.Op == Lit }

func (e *Expr) numeric() bool { return e.Type.numeric() }

func (t Type) numeric() bool { return t == Int || t == Float || t == Duration }
