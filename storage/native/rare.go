package native

// Rare is a column of numbers that are zero in nearly every row. A block has it only if one is not: ClickHouse fills a
// column that a block lacks with its type's default, so a rare column must not have another one in its table.
type Rare[T Number] struct {
	vals Fixed[T] // of the rows up to the last that is not zero
}

// NewRare returns a column of zeros of the ClickHouse type typ, which must be as wide as T.
func NewRare[T Number](typ string) *Rare[T] { return &Rare[T]{vals: Fixed[T]{typ: typ}} }

// Set makes v the value of the row with the index row, which must be above those that were set before.
func (c *Rare[T]) Set(row int, v T) {
	c.vals.AppendN(0, row-c.vals.Rows())
	c.vals.Append(v)
}

// Type implements Column.
func (c *Rare[T]) Type() string { return c.vals.Type() }

// Rows implements Column. It counts no rows after the last that was set.
func (c *Rare[T]) Rows() int { return c.vals.Rows() }

// Reset implements Column.
func (c *Rare[T]) Reset() { c.vals.Reset() }

// fill adds the zeros up to rows rows and reports whether the column is to be in the block.
func (c *Rare[T]) fill(rows int) bool {
	if c.vals.Rows() == 0 {
		return false
	}
	c.vals.AppendN(0, rows-c.vals.Rows())
	return true
}

func (c *Rare[T]) writeState(*frames)  {}
func (c *Rare[T]) writeBody(w *frames) { c.vals.writeBody(w) }
