package native

// Runs is a column of numbers that seldom differ from the row before, as flags and counts of what was dropped do. A row like
// the last costs a comparison: nothing is written before another comes or a block is made.
type Runs[T Number] struct {
	Fixed[T]   // the rows before the last run
	last     T // the value of the last run
}

// NewRuns returns an empty column of the ClickHouse type typ, which must be as wide as T.
func NewRuns[T Number](typ string) *Runs[T] { return &Runs[T]{Fixed: Fixed[T]{typ: typ}} }

// Set makes v the value of the row with the index row. Rows must be set in order, and all of them.
func (c *Runs[T]) Set(row int, v T) {
	if v != c.last {
		c.turn(row, v)
	}
}

func (c *Runs[T]) turn(row int, v T) {
	c.fill(row)
	c.last = v
}

// Reset implements Column.
func (c *Runs[T]) Reset() {
	c.Fixed.Reset()
	c.last = 0 // SECURITY: a row that nobody sets must not have a number of an earlier request
}

// fill implements filler.
func (c *Runs[T]) fill(rows int) bool {
	c.AppendN(c.last, rows-c.Rows())
	return true
}

// Sparse is a column of byte strings that are empty in most rows.
type Sparse struct {
	String // the rows up to the last that is not empty
}

// NewSparse returns an empty String column.
func NewSparse() *Sparse { return &Sparse{} }

// Set makes b, which it copies, the value of the row with the index row, which must be above those that were set before.
func (c *Sparse) Set(row int, b []byte) {
	c.fill(row)
	c.Append(b)
}

// fill implements filler.
func (c *Sparse) fill(rows int) bool {
	c.AppendN(nil, rows-c.Rows())
	return true
}
