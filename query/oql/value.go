package oql

// What other languages need to take the variables of this one.

// Type is the type that v was read as.
func (v Value) Type() VarType { return v.typ }

// IsSample reports whether v stands for every value of its type.
func (v Value) IsSample() bool { return v.sample }

// Literals returns what v holds: one value, of a list its items, each a string, an int64, a float64, a bool, a time.Duration
// or a time.Time. Nothing of a sample. The caller must not change it.
func (v Value) Literals() []any {
	if v.sample {
		return nil
	}
	return v.values
}

// ErrorAt makes the error for a byte of a text in another language.
func ErrorAt(text string, off int, format string, args ...any) *Error {
	return errorAt(text, max(off, 0), format, args...)
}
