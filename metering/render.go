package metering

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Format is how usage is written out.
type Format string

// The formats.
const (
	FormatTable Format = "table"
	FormatCSV   Format = "csv"
	FormatJSON  Format = "json"
)

// columnNames are the names of Row's fields in JSON, in order. CSV and table have them as their head.
var columnNames = []string{"start", "end", "tenant", "tenant_id", "signal", "key", "billed_bytes", "overage_bytes",
	"unbilled_bytes", "records", "requests", "rejected_records", "refused_bytes", "refused_requests", "correction_bytes", "state"}

// Write writes u to w. CSV and JSON are exact and the same for the same rows; the table is for people. CSV and table leave
// out Next and SealedThrough.
func (u Usage) Write(w io.Writer, f Format) error {
	switch f {
	case FormatJSON:
		return json.NewEncoder(w).Encode(u)
	case FormatCSV:
		return u.writeCSV(w)
	case FormatTable:
		return u.writeTable(w)
	}
	return fmt.Errorf("%w: format %q: want table, csv or json", ErrFilter, string(f))
}

func (u Usage) writeCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(columnNames); err != nil {
		return err
	}
	for _, r := range u.Rows {
		if err := c.Write(r.fields()); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func (u Usage) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(t, strings.ToUpper(strings.Join(columnNames, "\t"))); err != nil {
		return err
	}
	for _, r := range u.Rows {
		fields := r.fields()
		for i, f := range fields {
			if f == "" {
				fields[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(t, strings.Join(fields, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// fields returns r in the order of columnNames.
func (r Row) fields() []string {
	out := []string{r.Start.Format(time.RFC3339), r.End.Format(time.RFC3339), r.Tenant, r.TenantID, r.Signal, r.Key}
	for _, n := range []int64{r.BilledBytes, r.OverageBytes, r.UnbilledBytes, r.Records, r.Requests,
		r.RejectedRecords, r.RefusedBytes, r.RefusedRequests, r.CorrectionBytes} {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return append(out, string(r.State))
}
