package native

import "fmt"

// Nested is the columns of one Nested column of a table: arrays that have rows of the same lengths. An element is begun by
// Begin and appended to each member, and a row is ended by EndRow.
type Nested struct {
	members []Element
	ends    []uint64 // of the rows up to the last that has elements
	begun   bool     // the row in hand has elements
}

// Add adds elem as the elements of a member, which is the column name of b.
func (n *Nested) Add(b *Builder, name string, elem Element) {
	n.members = append(n.members, elem)
	b.Add(name, &member{nested: n, elem: elem})
}

// AddExtra is Add for a member that a block lacks if none of its rows has an element. In its table it must not be part
// of the Nested column, but an array of its own.
func (n *Nested) AddExtra(b *Builder, name string, elem Element) {
	n.members = append(n.members, elem)
	b.Add(name, &extraMember{member{nested: n, elem: elem}})
}

// Begin says that an element of the row in hand follows.
func (n *Nested) Begin() { n.begun = true }

// EndRow makes all elements appended since the last EndRow those of the row with the index row. It need not be called for
// rows without elements, as most are.
func (n *Nested) EndRow(row int) {
	if n.begun {
		n.end(row)
	}
}

func (n *Nested) end(row int) {
	n.begun = false
	n.fill(row)
	n.ends = append(n.ends, uint64(n.members[0].Rows()))
	for _, m := range n.members {
		m.save()
	}
}

// fill adds rows without elements, up to rows rows.
func (n *Nested) fill(rows int) {
	if from, more := len(n.ends), rows-len(n.ends); more > 0 {
		n.ends = repeated(append(n.ends, n.last()), from, more-1)
	}
}

// DropRow forgets the elements appended since the last EndRow.
func (n *Nested) DropRow() {
	if n.begun {
		n.begun = false
		for _, m := range n.members {
			m.restore()
		}
	}
}

func (n *Nested) last() uint64 {
	if len(n.ends) == 0 {
		return 0
	}
	return n.ends[len(n.ends)-1]
}

// member is one column of a Nested.
type member struct {
	nested *Nested
	elem   Element
}

func (m *member) Type() string { return "Array(" + m.elem.Type() + ")" }
func (m *member) Rows() int    { return len(m.nested.ends) }

func (m *member) Reset() {
	m.nested.ends, m.nested.begun = emptied(m.nested.ends), false
	m.elem.Reset()
}

// fill implements filler.
func (m *member) fill(rows int) bool {
	m.nested.fill(rows)
	return true
}

func (m *member) writeState(w *frames) { m.elem.writeState(w) }

func (m *member) writeBody(w *frames) {
	if n := m.elem.Rows(); uint64(n) != m.nested.last() {
		panic(fmt.Sprintf("BUG: member of nested column has %d elements, the others %d", n, m.nested.last()))
	}
	numbers(w, m.nested.ends)
	m.elem.writeBody(w)
}

type extraMember struct{ member }

// fill implements filler.
func (m *extraMember) fill(rows int) bool { return m.member.fill(rows) && m.nested.last() > 0 }
