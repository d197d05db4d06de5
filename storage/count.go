package storage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

// Counter counts records in ClickHouse, to be compared with the ledger. A record is a row, but for profiles, whose samples
// are rows: a profile counts once. It reads and nothing else.
//
// Each count is one query over all tables of a signal, grouped and sorted by ClickHouse and handed on as it comes: it takes
// no memory here, and there what countMemory says, beyond which groups go to ClickHouse's disk.
type Counter struct {
	Conn driver.Conn
	Log  *Log // nil: this process has none
}

// OpenCounter makes a Counter with connections of its own, which Close ends: ClickHouse says nothing before it has counted,
// and other connections do not wait that long. It dials nothing yet.
func OpenCounter(opt *clickhouse.Options, log *Log) (Counter, error) {
	patient := *opt
	patient.ReadTimeout, patient.MaxOpenConns, patient.MaxIdleConns = countTimeout, 2, 1
	conn, err := Open(&patient)
	return Counter{conn, log}, err
}

// Close ends the connections of OpenCounter.
func (c Counter) Close() error { return c.Conn.Close() }

const (
	countMemory  = 256 << 20
	countTimeout = 30 * time.Minute
)

// tablesOf are the tables that the records of each signal are rows of.
var tablesOf = map[string][]string{
	"logs":   {schema.Logs},
	"traces": {schema.Traces},
	"metrics": {schema.MetricsGauge, schema.MetricsSum, schema.MetricsHistogram, schema.MetricsExponentialHistogram,
		schema.MetricsSummary},
	"profiles": {schema.Profiles},
}

// UnsafeByTenant calls each with the number of records that every tenant has in every hour of receipt in [from, to), both
// full hours in unix seconds, in the order of hours, then of tenants' ids as bytes. A tenant other than zero is the only one
// that is counted. An error of each ends the count and is returned.
//
// SECURITY: it crosses tenants; only for operators.
func (c Counter) UnsafeByTenant(ctx context.Context, signal string, from, to int64, only tenant.ID,
	each func(hour int64, tenantID string, records int64) error) error {
	where := ""
	if !only.IsZero() {
		where = " AND TenantId = {tenant:String}"
	}
	return count(ctx, c, signal, "toString(TenantId)", where, from, to, clickhouse.Parameters{"tenant": only.String()}, each)
}

// UnsafeByRun is UnsafeByTenant with the runs (RunId) in place of the tenants, of all tenants.
//
// SECURITY: it crosses tenants; only for operators.
func (c Counter) UnsafeByRun(ctx context.Context, signal string, from, to int64,
	each func(hour int64, run uint64, records int64) error) error {
	return count(ctx, c, signal, "RunId", "", from, to, clickhouse.Parameters{}, each)
}

// Recorded reports whether the log still knows a run: one that is under way, or whose requests were tried again in halves.
func (c Counter) Recorded(run uint64) bool {
	if c.Log == nil {
		return false
	}
	c.Log.mu.Lock()
	defer c.Log.mu.Unlock()
	_, ok := c.Log.recorded[run]
	return ok
}

// UnsafeTables returns how many records a tenant has in each table of a signal in one hour of receipt.
//
// SECURITY: the tenant's id comes from rows or from the ledger, not from a caller's credential; only for operators.
func (c Counter) UnsafeTables(ctx context.Context, signal string, hour int64, tenantID string) (map[string]int64, error) {
	out := map[string]int64{}
	for _, table := range tablesOf[signal] {
		var n uint64
		ctx, cancel := statement(ctx, clickhouse.Parameters{"from": fmt.Sprint(hour), "to": fmt.Sprint(hour + 3600), "tenant": tenantID})
		err := c.Conn.QueryRow(ctx, "SELECT "+records(table)+" FROM "+table+" WHERE TenantId = {tenant:String} AND "+received).Scan(&n)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("count %s of a tenant: %w", table, err)
		}
		out[table] = int64(n)
	}
	return out, nil
}

// received is the condition that a row was received between the parameters from and to.
const received = "ReceivedAt >= toDateTime({from:UInt32}, 'UTC') AND ReceivedAt < toDateTime({to:UInt32}, 'UTC')"

// records is the number of records that rows of table are.
func records(table string) string {
	if table == schema.Profiles {
		return "countIf(SampleIndex = 0)"
	}
	return "count()"
}

// count runs the query of a signal, one pass over each of its tables, and hands its rows on.
func count[K string | uint64](ctx context.Context, c Counter, signal, by, where string, from, to int64, p clickhouse.Parameters,
	each func(hour int64, who K, records int64) error) error {
	tables := tablesOf[signal]
	if tables == nil {
		return fmt.Errorf("count: unknown signal %q", signal)
	}
	parts := make([]string, len(tables))
	for i, t := range tables {
		parts[i] = "SELECT toInt64(intDiv(toUInt32(ReceivedAt), 3600)) * 3600 AS hour, " + by + " AS who, " + records(t) + " AS n FROM " + t +
			" WHERE " + received + where + " GROUP BY hour, who"
	}
	p["from"], p["to"] = fmt.Sprint(from), fmt.Sprint(to)
	ctx, cancel := statement(ctx, p)
	defer cancel()
	rows, err := c.Conn.Query(ctx, "SELECT hour, who, toUInt64(sum(n)) AS records FROM ("+strings.Join(parts, " UNION ALL ")+
		") GROUP BY hour, who HAVING records > 0 ORDER BY hour, who")
	if err != nil {
		return fmt.Errorf("count %s: %w", signal, err)
	}
	defer rows.Close()
	for rows.Next() {
		var hour int64
		var who K
		var n uint64
		if err := rows.Scan(&hour, &who, &n); err != nil {
			return fmt.Errorf("count %s: %w", signal, err)
		}
		if err := each(hour, who, int64(n)); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("count %s: %w", signal, err)
	}
	return nil
}

func statement(ctx context.Context, p clickhouse.Parameters) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	return clickhouse.Context(ctx, clickhouse.WithParameters(p), clickhouse.WithSettings(clickhouse.Settings{
		"max_bytes_before_external_group_by": countMemory, "max_bytes_before_external_sort": countMemory,
		"max_threads": 2, "priority": 10, // ingest and queries first
	})), cancel
}
