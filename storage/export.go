package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/tenant"
)

// AllDays stands for the day of a part of a table that has no days.
const AllDays = "all"

// ErrNoPart says that a part names a table or a day that there is not.
var ErrNoPart = errors.New("no such part of an export")

// Exporter reads a tenant's rows as Parquet. It reads and nothing else, and is safe for concurrent use.
//
// SECURITY: it reads as the identity that may do everything, so each of its statements on a table of rows begins with the
// tenant in PREWHERE, and the tenant is an argument.
type Exporter struct{ Conn driver.Conn }

// OpenExporter makes an Exporter with connections of its own, which Close ends: neither the log nor queries wait for an export.
// It dials nothing yet.
func OpenExporter(opt *clickhouse.Options) (*Exporter, error) {
	patient := *opt
	patient.ReadTimeout, patient.MaxOpenConns, patient.MaxIdleConns = countTimeout, 8, 1
	conn, err := Open(&patient)
	return &Exporter{conn}, err
}

// Close ends the connections of OpenExporter.
func (x *Exporter) Close() error { return x.Conn.Close() }

// ExportSpan selects rows by their day, as YYYY-MM-DD in UTC, and by when they were received. "" is no bound.
type ExportSpan struct {
	From, To string // To is exclusive
	Before   time.Time
}

// ExportPart is what a tenant has in a table on a day.
type ExportPart struct {
	Table string
	Day   string // YYYY-MM-DD, in UTC and by the column that the table is partitioned by; or AllDays
	Rows  uint64
}

// exportTable is a table of tenants' rows, and how it is parted.
type exportTable struct {
	tenantTable
	day      string // the expression of a row's day, "" for none
	received bool   // its rows have a time of receipt that stays
	final    bool   // of rows with equal keys one is kept
	prewhere bool
}

// dayOfKey finds the day in a partition key as schema's tables have it: of a time, or a day.
var dayOfKey = regexp.MustCompile(`^\(Partition, (?:toDate\()?([A-Za-z_][A-Za-z0-9_]*)\)?\)$`)

// exportTables finds the tables that deletion finds, side tables of later versions included.
func exportTables(ctx context.Context, conn driver.Conn, only string) (out []exportTable, err error) {
	tables, err := tenantTables(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if only != "" && t.name != only {
			continue
		}
		x := exportTable{tenantTable: t}
		var key, engine string
		ctx := clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"table": t.name}))
		err := conn.QueryRow(ctx, `SELECT partition_key, engine, (SELECT count() > 0 FROM system.columns
				WHERE database = currentDatabase() AND table = {table:String} AND name = 'ReceivedAt')
			FROM system.tables WHERE database = currentDatabase() AND name = {table:String}`).Scan(&key, &engine, &x.received)
		if err != nil {
			return nil, fmt.Errorf("look at table %s: %w", t.name, err)
		}
		if m := dayOfKey.FindStringSubmatch(key); m != nil {
			x.day = "toDate(`" + m[1] + "`)"
		}
		x.prewhere = strings.HasSuffix(engine, "MergeTree")
		// What is kept of equal rows may be one that came later: it describes those of before all the same.
		if x.final = strings.Contains(engine, "ReplacingMergeTree"); x.final {
			x.received = false
		}
		out = append(out, x)
	}
	return out, nil
}

// from is everything after the columns of a SELECT of the tenant's rows that were received in time.
func (t exportTable) from(more string) string {
	where := " WHERE TenantId = {tenant:String}"
	if t.prewhere {
		where = " PREWHERE TenantId = {tenant:String} WHERE 1"
	}
	if t.received {
		where += " AND ReceivedAt < toDateTime({before:UInt32}, 'UTC')"
	}
	final := ""
	if t.final {
		final = " FINAL"
	}
	return " FROM " + t.quoted() + final + where + more
}

// Parts returns how many rows of a tenant each table has on each day of the span, by table and day. Days and tables without
// rows are left out.
func (x *Exporter) Parts(ctx context.Context, id tenant.ID, span ExportSpan) (out []ExportPart, err error) {
	if id.IsZero() {
		return nil, errors.New("export: zero tenant id")
	}
	tables, err := exportTables(ctx, x.Conn, "")
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	for _, t := range tables {
		parts, err := x.partsOf(ctx, id, t, span)
		if err != nil {
			return nil, fmt.Errorf("export: count rows of %s: %w", t.name, err)
		}
		out = append(out, parts...)
	}
	return out, nil
}

func (x *Exporter) partsOf(ctx context.Context, id tenant.ID, t exportTable, span ExportSpan) (out []ExportPart, err error) {
	day, more := "'"+AllDays+"'", ""
	if t.day != "" {
		day = "toString(" + t.day + ")"
		if span.From != "" {
			more += " AND " + t.day + " >= {from:Date}"
		}
		if span.To != "" {
			more += " AND " + t.day + " < {to:Date}"
		}
	}
	ctx, cancel := exporting(ctx, id, span.Before, clickhouse.Parameters{"from": span.From, "to": span.To})
	defer cancel()
	rows, err := x.Conn.Query(ctx, "SELECT "+day+" AS day, count() AS n"+t.from(more)+" GROUP BY day HAVING n > 0 ORDER BY day")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p := ExportPart{Table: t.name}
		if err := rows.Scan(&p.Day, &p.Rows); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// part returns the table of a part and the condition of its day, or ErrNoPart.
func (x *Exporter) part(ctx context.Context, table, day string) (exportTable, string, error) {
	tables, err := exportTables(ctx, x.Conn, table)
	switch {
	case err != nil:
		return exportTable{}, "", err
	case table == "" || len(tables) == 0:
		return exportTable{}, "", ErrNoPart
	}
	t := tables[0]
	if t.day == "" && day == AllDays {
		return t, "", nil
	}
	if _, err := time.Parse(time.DateOnly, day); err != nil || t.day == "" {
		return exportTable{}, "", ErrNoPart
	}
	return t, " AND " + t.day + " = {day:Date}", nil
}

// CountPart returns how many rows a part has that were received before. A part without rows is none the less one; ErrNoPart is of
// tables and days that there are not.
func (x *Exporter) CountPart(ctx context.Context, id tenant.ID, table, day string, before time.Time) (n uint64, err error) {
	t, more, err := x.part(ctx, table, day)
	if err != nil {
		return 0, fmt.Errorf("export: %w", err)
	}
	ctx, cancel := exporting(ctx, id, before, clickhouse.Parameters{"day": day})
	defer cancel()
	if err := x.Conn.QueryRow(ctx, "SELECT count()"+t.from(more)).Scan(&n); err != nil {
		return 0, fmt.Errorf("export: count rows of %s: %w", table, err)
	}
	return n, nil
}

// WritePart writes a part to w as one Parquet file, of all columns that an INSERT takes, in no order; of rows that replace each other
// the one that is kept. ClickHouse makes it as it is read: what it holds is some row groups, and nothing is held here. When it
// fails w has got something that is no Parquet file. Errors: ErrNoPart, ErrCutOff, ClickHouse's and w's.
func (x *Exporter) WritePart(ctx context.Context, id tenant.ID, table, day string, before time.Time, w io.Writer) error {
	if id.IsZero() {
		return errors.New("export: zero tenant id")
	}
	t, more, err := x.part(ctx, table, day)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	ctx, cancel := exporting(ctx, id, before, clickhouse.Parameters{"day": day})
	defer cancel()
	stream, err := x.Conn.QueryFormat(ctx, "Parquet", "SELECT *"+t.from(more))
	if err != nil {
		return fmt.Errorf("export %s of %s: %w", table, day, err)
	}
	end := &parquetEnd{w: w}
	_, err = io.CopyBuffer(end, struct{ io.Reader }{stream}, make([]byte, exportBuffer))
	cancel() // closing drains the stream, and nobody waits for a query that failed
	_ = stream.Close()
	if err == nil && !end.whole() {
		err = ErrCutOff
	}
	if err != nil {
		return fmt.Errorf("export %s of %s: %w", table, day, err)
	}
	return nil
}

// ErrCutOff says that ClickHouse ended a Parquet file before its end.
var ErrCutOff = errors.New("the file is cut off")

// parquetMagic ends every Parquet file.
const parquetMagic = "PAR1"

// parquetEnd passes on what is written and keeps the end of it.
type parquetEnd struct {
	w    io.Writer
	last []byte
	n    int64
}

// Write implements io.Writer.
func (p *parquetEnd) Write(b []byte) (int, error) {
	p.last = append(p.last, b[max(0, len(b)-len(parquetMagic)):]...)
	p.last = append(p.last[:0], p.last[max(0, len(p.last)-len(parquetMagic)):]...)
	p.n += int64(len(b))
	return p.w.Write(b)
}

// whole reports whether the file has its end, which looks like its beginning.
func (p *parquetEnd) whole() bool {
	return p.n > int64(len(parquetMagic)) && bytes.Equal(p.last, []byte(parquetMagic))
}

const (
	exportBuffer  = 256 << 10
	exportRows    = 50_000   // of a row group
	exportGroup   = 32 << 20 // bytes of a row group before it is compressed
	exportMemory  = 1 << 30
	exportTimeout = 6 * time.Hour // of one part
)

func exporting(ctx context.Context, id tenant.ID, before time.Time, p clickhouse.Parameters) (context.Context, context.CancelFunc) {
	p["tenant"], p["before"] = id.String(), strconv.FormatInt(before.Unix(), 10)
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	return clickhouse.Context(ctx, clickhouse.WithParameters(p), clickhouse.WithSettings(clickhouse.Settings{
		"output_format_parquet_row_group_size": exportRows, "output_format_parquet_row_group_size_bytes": exportGroup,
		"output_format_parquet_compression_method": "zstd", "output_format_parquet_parallel_encoding": 0,
		"max_block_size": 8192, "preferred_block_size_bytes": 1 << 20,
		"max_memory_usage": exportMemory, "max_bytes_before_external_group_by": countMemory,
		"max_threads": 2, "priority": 10, // ingest and queries first
	})), cancel
}

// Schema returns the number of the newest migration that made the tables.
func (x *Exporter) Schema(ctx context.Context) (version int, err error) {
	var n uint32
	if err := x.Conn.QueryRow(ctx, "SELECT max(version) FROM headgate_migrations").Scan(&n); err != nil {
		return 0, fmt.Errorf("export: read headgate_migrations: %w", err)
	}
	return int(n), nil
}
