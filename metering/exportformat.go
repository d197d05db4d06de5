package metering

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// csvEntries writes one line per entry below a head.
type csvEntries struct{ w *csv.Writer }

func newCSVEntries(w io.Writer) *csvEntries { return &csvEntries{csv.NewWriter(w)} }

func (c *csvEntries) begin() error        { return c.w.Write(entryColumns) }
func (c *csvEntries) entry(e Entry) error { return c.w.Write(e.fields()) }

func (c *csvEntries) end() error {
	c.w.Flush()
	return c.w.Error()
}

// jsonEntries writes one object with all entries, each on a line of its own.
type jsonEntries struct {
	w    io.Writer
	x    *Export
	rows int
}

func (j *jsonEntries) begin() error {
	head := struct {
		AsOf          time.Time `json:"as_of,omitzero"`
		SealedThrough time.Time `json:"sealed_through"`
	}{j.x.Filter.AsOf, j.x.SealedThrough}
	raw, err := json.Marshal(head)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.w, "%s,\"rows\":[", raw[:len(raw)-1])
	return err
}

func (j *jsonEntries) entry(e Entry) error { return writeElement(j.w, e, &j.rows) }

func (j *jsonEntries) end() error {
	_, err := io.WriteString(j.w, "\n]}\n")
	return err
}

// writeElement writes an element of a list on a line of its own; n counts them.
func writeElement(w io.Writer, v any, n *int) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	between := "\n"
	if *n > 0 {
		between = ",\n"
	}
	*n++
	_, err = io.WriteString(w, between+string(raw))
	return err
}
