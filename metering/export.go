package metering

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// The further formats of exports; FormatCSV and FormatJSON are the others.
const (
	FormatFOCUS       Format = "focus"       // a FOCUS 1.2 file
	FormatCloudEvents Format = "cloudevents" // a CloudEvents 1.0 batch in JSON
)

// exportPage is how many entries are in memory at once.
const exportPage = 2000

// ExportFilter selects what is exported: all entries of a period, sealed as of a moment.
type ExportFilter struct {
	Tenants     []tenant.ID // whose; empty is an error, never everybody
	Descendants bool        // as in Filter
	From, To    time.Time   // as in Filter
	Zone        *time.Location
	// AsOf is the moment whose sealed ledger is exported; zero is now.
	AsOf time.Time
	// Open takes the hours that are still open too, as they are when they are read: such an export cannot be made again.
	Open   bool
	Format Format
	Rate   Rate // of FormatFOCUS
}

// Export is one that is about to be written. Two of the same filter, without Open, have the same bytes if AsOf is the same.
type Export struct {
	Filter        ExportFilter // with AsOf set, unless it is Open
	SealedThrough time.Time    // as of then
	ledger        *Ledger
	query         *usageQuery
}

// ExportTotals is what an export contains.
type ExportTotals struct {
	Rows        int64 `json:"rows"`
	Corrections int64 `json:"corrections"` // of the rows
	BilledBytes int64 `json:"billed_bytes"`
	Records     int64 `json:"records"`
}

// ContentType returns the media type of the export.
func (x *Export) ContentType() string {
	switch x.Filter.Format {
	case FormatJSON:
		return "application/json"
	case FormatCloudEvents:
		return "application/cloudevents-batch+json; charset=utf-8"
	}
	return "text/csv; charset=utf-8; header=present"
}

// Export prepares an export of the filter's tenants.
func (l *Ledger) Export(ctx context.Context, f ExportFilter) (*Export, error) {
	if len(f.Tenants) == 0 {
		return nil, fmt.Errorf("%w: no tenant", ErrFilter)
	}
	return l.export(ctx, f)
}

// UnsafeExportOfAll prepares an export of all tenants; f.Tenants is ignored.
//
// SECURITY: only for operators.
func (l *Ledger) UnsafeExportOfAll(ctx context.Context, f ExportFilter) (*Export, error) {
	f.Tenants = nil
	return l.export(ctx, f)
}

func (l *Ledger) export(ctx context.Context, f ExportFilter) (*Export, error) {
	if f.Open && !f.AsOf.IsZero() {
		return nil, fmt.Errorf("%w: as_of is of sealed hours, open of others: choose one", ErrFilter)
	}
	if _, ok := exportFormats[f.Format]; !ok {
		return nil, fmt.Errorf("%w: format %.20q: want csv, json, focus or cloudevents", ErrFilter, string(f.Format))
	}
	if f.Zone == nil {
		f.Zone = time.UTC
	}
	f.Rate = f.Rate.orDefault()
	if !f.Open {
		if f.AsOf.IsZero() {
			f.AsOf = l.now()
		}
		f.AsOf = f.AsOf.UTC().Truncate(time.Millisecond)
		if err := l.pin(ctx, f.AsOf); err != nil {
			return nil, err
		}
	}
	q, err := newUsageQuery(Filter{Tenants: f.Tenants, Descendants: f.Descendants, From: f.From, To: f.To, Zone: f.Zone, AsOf: f.AsOf}, l.now())
	if err != nil {
		return nil, err
	}
	err = l.db.View(ctx, func(tx *store.Tx) error { return q.seal(ctx, tx, f.AsOf, l.now()) })
	if err != nil {
		return nil, fmt.Errorf("export usage: %w", err)
	}
	return &Export{Filter: f, SealedThrough: time.Unix(q.open, 0).UTC(), ledger: l, query: q}, nil
}

// entryWriter writes entries in a format.
type entryWriter interface {
	begin() error
	entry(Entry) error
	end() error
}

// exportFormats are the writers of the formats.
var exportFormats = map[Format]func(w io.Writer, x *Export) entryWriter{
	FormatCSV:         func(w io.Writer, _ *Export) entryWriter { return newCSVEntries(w) },
	FormatJSON:        func(w io.Writer, x *Export) entryWriter { return &jsonEntries{w: w, x: x} },
	FormatFOCUS:       func(w io.Writer, x *Export) entryWriter { return newFocusEntries(w, x) },
	FormatCloudEvents: func(w io.Writer, _ *Export) entryWriter { return &cloudEvents{w: w} },
}

// Write writes all of the export to w, however much that is: entries are read a page at a time, and nothing of the database
// is held while w is slow. With an error the output is incomplete.
func (x *Export) Write(ctx context.Context, w io.Writer) (t ExportTotals, err error) {
	out := exportFormats[x.Filter.Format](w, x)
	if err := out.begin(); err != nil {
		return t, err
	}
	err = x.entries(ctx, func(e Entry) error {
		t.Rows++
		t.BilledBytes += e.BilledBytes
		t.Records += e.Records
		if e.isCorrection() {
			t.Corrections++
		}
		return out.entry(e)
	})
	if err != nil {
		return t, err
	}
	return t, out.end()
}

// entries calls fn with every entry, by hour, tenant, signal and key. Sealed hours do not change between pages.
func (x *Export) entries(ctx context.Context, fn func(Entry) error) error {
	at, after := x.query.from, entryPlace{}
	for {
		page, hour, err := x.page(ctx, at, after)
		if err != nil {
			return fmt.Errorf("export usage: %w", err)
		}
		for _, e := range page {
			if err := fn(e); err != nil {
				return err
			}
		}
		switch {
		case len(page) == exportPage:
			at, after = hour, page[exportPage-1].place()
		case hour < 0:
			return nil
		default:
			at, after = hour+hourSeconds, entryPlace{}
		}
	}
}

// page returns the entries of the first hour from at on that has any, behind a place in the hour at; the hour is below 0 at
// the end.
func (x *Export) page(ctx context.Context, at int64, after entryPlace) (page []Entry, hour int64, err error) {
	q := x.query
	hour = -1
	err = x.ledger.db.View(ctx, func(tx *store.Tx) error {
		next, err := nextHour(ctx, tx, at, q.to, q.owners)
		if err != nil || !next.Valid {
			return err
		}
		hour = next.Int64 // at itself as long as it has entries: they never go
		page, err = readHour(ctx, tx, hour, q.open, q.owners, q.named, after, exportPage)
		return err
	})
	return page, hour, err
}

// entryColumns are the names of Entry's fields in JSON, in order; CSV has them as its head.
var entryColumns = []string{"id", "start", "end", "tenant", "tenant_id", "signal", "key", "corrects", "reason", "billed_bytes",
	"overage_bytes", "unbilled_bytes", "records", "requests", "rejected_records", "refused_bytes", "refused_requests", "state"}

// fields returns e in the order of entryColumns.
func (e Entry) fields() []string {
	corrects := ""
	if e.isCorrection() {
		corrects = e.Corrects.Format(time.RFC3339)
	}
	out := []string{e.ID, e.Start.Format(time.RFC3339), e.End.Format(time.RFC3339), e.Tenant, e.TenantID, string(e.Signal), e.Key,
		corrects, e.Reason}
	for _, n := range []int64{e.BilledBytes, e.OverageBytes, e.UnbilledBytes, e.Records, e.Requests, e.RejectedRecords,
		e.RefusedBytes, e.RefusedRequests} {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return append(out, string(e.State))
}
