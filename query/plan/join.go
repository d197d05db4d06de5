package plan

import (
	"fmt"
	"slices"
	"strconv"
)

// JoinKind says what becomes of a row that has no match.
type JoinKind string

const (
	Inner JoinKind = "inner" // it goes
	Left  JoinKind = "left"  // it stays, with null in the columns it would have gained
)

// Join gives each row the columns of each row of With that equals it in all pairs of On. Null equals nothing. A row with
// several matches becomes several rows.
type Join struct {
	Kind JoinKind
	With *Plan
	On   []Pair
	Cols []Carried // the columns that rows gain
}

// Pair are the columns of both sides that are compared. They have one type.
type Pair struct{ Left, Right *Column }

// Carried is a column of a joined plan under its new id.
type Carried struct{ Col, From *Column }

// Union adds the rows of With. Every column of both sides ends here and goes on as a merged one.
type Union struct {
	With *Plan
	Cols []Merged
	Arm  *Column // 0 in rows from before the stage, 1 in those of With
}

// Merged is a column of a union. The side that lacks it has null there, an empty map or an empty list.
type Merged struct{ Col, Left, Right *Column }

func (Join) stage()  {}
func (Union) stage() {}

// Sub starts a plan of src for a Join or Union of p: no column of one has the id of a column of the other. It returns nil
// for a source that is not in the closed list.
func (p *Plan) Sub(src Source) *Plan {
	s := New(src)
	if s == nil {
		return nil
	}
	s.columns = p.columns
	for _, c := range s.Input {
		*s.columns++
		c.ID = *s.columns
	}
	return s
}

// Order returns the sort keys in force at the end of p.
func (p *Plan) Order() []Key {
	for _, s := range slices.Backward(p.Stages) {
		switch s := s.(type) {
		case Sort:
			return s.Keys
		case Summarize:
			return nil
		}
	}
	return nil
}

// Comparable checks that two columns can be compared by a join.
func Comparable(left, right *Column) (Pair, error) {
	switch {
	case left.Type == Map || left.Type == List:
		return Pair{}, fmt.Errorf("rows cannot be joined on a %s", left.Type)
	case left.Type != right.Type:
		return Pair{}, fmt.Errorf("%q is of type %s here and of type %s in the joined query: convert one of them in an extend before", left.Name, left.Type, right.Type)
	}
	return Pair{left, right}, nil
}

// Join makes the stage that joins rows of the columns cols with those of with, and returns the visible columns after it. A
// column whose name is taken is called name_2, name_3, …. The columns that with is sorted by come along unseen.
func (p *Plan) Join(kind JoinKind, cols []*Column, with *Plan, on []Pair) (Join, []*Column) {
	j := Join{Kind: kind, With: with, On: on}
	taken := names(cols)
	out := slices.Clone(cols)
	for _, from := range with.Output {
		if slices.ContainsFunc(on, func(k Pair) bool { return k.Right == from }) {
			continue
		}
		c := p.carry(Free(taken, from.Name), from)
		c.Nullable = c.Nullable || kind == Left && c.Type != Map && c.Type != List
		taken[c.Name] = true
		j.Cols = append(j.Cols, Carried{c, from})
		out = append(out, c)
	}
	return j, out
}

// JoinOrder adds the columns that j.With is sorted by to what j carries and returns the keys of its order.
func (p *Plan) JoinOrder(j *Join) []Key {
	var keys []Key
	for _, k := range j.With.Order() {
		i := slices.IndexFunc(j.Cols, func(c Carried) bool { return c.From == k.Col })
		if i < 0 {
			c := p.carry("", k.Col)
			c.Nullable = c.Nullable || j.Kind == Left
			i = len(j.Cols)
			j.Cols = append(j.Cols, Carried{c, k.Col})
		}
		keys = append(keys, Key{Col: j.Cols[i].Col, Desc: k.Desc})
	}
	return keys
}

// carry makes a new column that holds what from does.
func (p *Plan) carry(name string, from *Column) *Column {
	c := p.Column(name, from.Type)
	c.Nullable, c.Lower, c.Values, c.Shape = from.Nullable, from.Lower, from.Values, from.Shape
	if name == from.Name {
		c.Also = from.Also
	}
	return c
}

// Union makes the stage that adds the rows of with to rows of the columns cols, and returns the visible columns after it:
// those of cols, then those that only with has.
func (p *Plan) Union(cols []*Column, with *Plan) (Union, []*Column, error) {
	u := Union{With: with}
	var out []*Column
	for _, l := range cols {
		m := Merged{Left: l, Col: p.carry(l.Name, l)}
		if i := slices.IndexFunc(with.Output, func(c *Column) bool { return c.Name == l.Name }); i >= 0 {
			m.Right = with.Output[i]
		}
		out = append(out, m.Col)
		u.Cols = append(u.Cols, m)
	}
	known := names(cols)
	for _, r := range with.Output {
		if !known[r.Name] {
			m := Merged{Right: r, Col: p.carry(r.Name, r)}
			out = append(out, m.Col)
			u.Cols = append(u.Cols, m)
		}
	}
	for _, m := range u.Cols {
		if err := m.complete(); err != nil {
			return Union{}, nil, err
		}
	}
	u.Arm = p.Column("", Int)
	return u, out, nil
}

// complete checks that the sides agree and settles what is known about the values of both.
func (m Merged) complete() error {
	c, l, r := m.Col, m.Left, m.Right
	single := c.Type == Map || c.Type == List
	switch {
	case c.Type == List && (c.Shape == "" || l != nil && r != nil && l.Shape != r.Shape):
		return fmt.Errorf("a union cannot hold the list %q: leave it out with project-away", c.Name)
	case l == nil || r == nil:
		c.Nullable = !single
		return nil
	case l.Type != r.Type:
		return fmt.Errorf("%q is of type %s here and of type %s in the other query: give one of them another name or convert it", c.Name, l.Type, r.Type)
	}
	c.Nullable = l.Nullable || r.Nullable
	c.Lower = l.Lower && r.Lower
	c.Also = slices.DeleteFunc(slices.Clone(l.Also), func(a string) bool { return !slices.Contains(r.Also, a) })
	switch {
	case l.Values == nil || r.Values == nil:
		c.Values = nil
	default:
		c.Values = slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.Values, r.Values))))
	}
	return nil
}

// UnionOrder returns the order of rows after u: newest first if both sides have a time, then those from before the stage, each
// side's in its own order. left is the order of the rows before. What that order needs goes on unseen.
func (p *Plan) UnionOrder(u *Union, left []Key) []Key {
	var keys []Key
	add := func(k Key) {
		if !slices.ContainsFunc(keys, func(o Key) bool { return o.Col == k.Col }) {
			keys = append(keys, k)
		}
	}
	for _, m := range u.Cols {
		if m.Left != nil && m.Right != nil && m.Col.Name == "time" && m.Col.Type == Time {
			add(Key{Col: m.Col, Desc: true})
		}
	}
	add(Key{Col: u.Arm})
	for _, k := range left {
		add(Key{u.merged(p, k.Col, func(m Merged) *Column { return m.Left }, func(m *Merged) { m.Left = k.Col }), k.Desc})
	}
	for _, k := range u.With.Order() {
		add(Key{u.merged(p, k.Col, func(m Merged) *Column { return m.Right }, func(m *Merged) { m.Right = k.Col }), k.Desc})
	}
	return keys
}

// merged finds the column that c of one side goes on as, or makes it.
func (u *Union) merged(p *Plan, c *Column, side func(Merged) *Column, set func(*Merged)) *Column {
	if i := slices.IndexFunc(u.Cols, func(m Merged) bool { return side(m) == c }); i >= 0 {
		return u.Cols[i].Col
	}
	m := Merged{Col: p.carry("", c)}
	m.Col.Nullable = true
	set(&m)
	u.Cols = append(u.Cols, m)
	return m.Col
}

func names(cols []*Column) map[string]bool {
	out := map[string]bool{}
	for _, c := range cols {
		out[c.Name] = true
	}
	return out
}

// Free returns name, or name_2, name_3, … if it is taken.
func Free(taken map[string]bool, name string) string {
	for i, try := 2, name; ; i++ {
		if !taken[try] {
			return try
		}
		try = name + "_" + strconv.Itoa(i)
	}
}
