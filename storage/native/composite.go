package native

// Nullable is a column of fixed-width values that may be NULL.
type Nullable[T Number] struct {
	nulls []uint8
	vals  *Fixed[T]
}

// NewNullable returns an empty column of type Nullable(typ).
func NewNullable[T Number](typ string) *Nullable[T] { return &Nullable[T]{vals: NewFixed[T](typ)} }

// Append adds the row v.
func (c *Nullable[T]) Append(v T) {
	c.nulls = append(c.nulls, 0)
	c.vals.Append(v)
}

// AppendNull adds a row of NULL.
func (c *Nullable[T]) AppendNull() {
	c.nulls = append(c.nulls, 1)
	c.vals.Append(0)
}

// Type implements Column.
func (c *Nullable[T]) Type() string { return "Nullable(" + c.vals.Type() + ")" }

// Rows implements Column.
func (c *Nullable[T]) Rows() int { return len(c.nulls) }

// Reset implements Column.
func (c *Nullable[T]) Reset() {
	c.nulls = emptied(c.nulls)
	c.vals.Reset()
}

func (c *Nullable[T]) save() { c.vals.save() }

func (c *Nullable[T]) restore() {
	c.vals.restore()
	c.nulls = c.nulls[:len(c.vals.vals)]
}

func (c *Nullable[T]) writeState(*frames) {}

func (c *Nullable[T]) writeBody(w *frames) {
	w.bytes(c.nulls)
	c.vals.writeBody(w)
}

// Array is a column of arrays of fixed-width values. A row is begun by appending to Elem and ended by EndRow.
type Array[T Number] struct {
	Elem *Fixed[T]
	ends []uint64
}

// NewArray returns an empty column of arrays of elem.
func NewArray[T Number](elem *Fixed[T]) *Array[T] { return &Array[T]{Elem: elem} }

// Begun returns the number of elements appended since the last EndRow.
func (c *Array[T]) Begun() int { return len(c.Elem.vals) - c.last() }

func (c *Array[T]) last() int {
	if len(c.ends) == 0 {
		return 0
	}
	return int(c.ends[len(c.ends)-1])
}

// EndRow adds the row of all elements appended since the last EndRow.
func (c *Array[T]) EndRow() { c.ends = append(c.ends, uint64(len(c.Elem.vals))) }

// DropRow forgets the elements appended since the last EndRow.
func (c *Array[T]) DropRow() { c.Elem.vals = c.Elem.vals[:c.last()] }

// Type implements Column.
func (c *Array[T]) Type() string { return "Array(" + c.Elem.Type() + ")" }

// Rows implements Column.
func (c *Array[T]) Rows() int { return len(c.ends) }

// Reset implements Column.
func (c *Array[T]) Reset() {
	c.ends = emptied(c.ends)
	c.Elem.Reset()
}

func (c *Array[T]) writeState(w *frames) { c.Elem.writeState(w) }

func (c *Array[T]) writeBody(w *frames) {
	numbers(w, c.ends)
	c.Elem.writeBody(w)
}

// Map is a column of maps. A row is begun by appending to Keys and Vals alike and ended by EndRow. That a key stands in
// a row once is the caller's business.
type Map[V Flat] struct {
	Keys  *LowCardinality
	Vals  V
	ends  []uint64
	row   mapMark // where the row in hand begins
	saved struct {
		rows int
		at   mapMark
	}
}

// NewMap returns an empty column of maps from keys to vals.
func NewMap[V Flat](keys *LowCardinality, vals V) *Map[V] { return &Map[V]{Keys: keys, Vals: vals} }

// EndRow adds the row of all pairs appended since the last EndRow.
func (c *Map[V]) EndRow() {
	c.row = mapMark{c.Keys.mark(), c.Vals.mark()}
	c.ends = append(c.ends, uint64(c.row.keys.values))
}

// DropRow forgets the pairs appended since the last EndRow.
func (c *Map[V]) DropRow() {
	c.Keys.cut(c.row.keys)
	c.Vals.cut(c.row.vals)
}

// mapMark is a position between two rows of a Map.
type mapMark struct{ keys, vals mark }

// Type implements Column.
func (c *Map[V]) Type() string { return "Map(" + c.Keys.Type() + ", " + c.Vals.Type() + ")" }

// Rows implements Column.
func (c *Map[V]) Rows() int { return len(c.ends) }

// Reset implements Column.
func (c *Map[V]) Reset() {
	c.ends = emptied(c.ends)
	c.row, c.saved.rows, c.saved.at = mapMark{}, 0, mapMark{}
	c.Keys.Reset()
	c.Vals.Reset()
}

func (c *Map[V]) save() { c.saved.rows, c.saved.at = len(c.ends), c.row }

func (c *Map[V]) restore() {
	c.ends, c.row = c.ends[:c.saved.rows], c.saved.at
	c.DropRow()
}

func (c *Map[V]) writeState(w *frames) {
	c.Keys.writeState(w)
	c.Vals.writeState(w)
}

func (c *Map[V]) writeBody(w *frames) {
	numbers(w, c.ends)
	c.Keys.writeBody(w)
	c.Vals.writeBody(w)
}

func (c *Map[V]) writeRuns(w *frames, counts []int) {
	from, end := uint64(0), uint64(0)
	for i, to := range c.ends {
		end = w.steps(end, to-from, counts[i])
		from = to
	}
	c.Keys.writePieces(w, c.ends, counts)
	c.Vals.writePieces(w, c.ends, counts)
}
