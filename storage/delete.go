package storage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/tenant"
)

// TableCount is how many rows of a tenant a table has, and the query that says so.
type TableCount struct {
	Table string `json:"table"`
	Rows  uint64 `json:"rows"`
	Query string `json:"query"`
}

// tenantTable is a table of the database that has tenants' rows.
type tenantTable struct {
	name string
	// own says that the first value of the partition key is a tenant or a placement, so that partitions of one tenant's own are
	// known by it.
	own bool
}

// quoted is the table's name as statements have it.
func (t tenantTable) quoted() string { return "`" + strings.ReplaceAll(t.name, "`", "\\`") + "`" }

// tenantTables finds every table of the database with a column TenantId at this moment, side tables of later versions and
// leftovers of repairs included. What keeps no rows of its own (views, Distributed) is left out.
func tenantTables(ctx context.Context, conn driver.Conn) (out []tenantTable, err error) {
	rows, err := conn.Query(ctx, `SELECT name, partition_key LIKE '(Partition,%' OR partition_key LIKE '(TenantId,%' FROM system.tables
		WHERE database = currentDatabase() AND engine NOT IN ('View', 'MaterializedView', 'Distributed', 'Merge')
			AND name IN (SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'TenantId') ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t tenantTable
		var own uint8
		if err := rows.Scan(&t.name, &own); err != nil {
			return nil, fmt.Errorf("list tables: %w", err)
		}
		t.own = own != 0
		out = append(out, t)
	}
	return out, rows.Err()
}

// CountTenant counts a tenant's rows in every table that has any tenant's, and returns one count per table, zeros too.
func CountTenant(ctx context.Context, conn driver.Conn, id tenant.ID) ([]TableCount, error) {
	if id.IsZero() {
		return nil, fmt.Errorf("count rows: zero tenant id")
	}
	tables, err := tenantTables(ctx, conn)
	if err != nil {
		return nil, err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"tenant": id.String()}))
	out := make([]TableCount, 0, len(tables))
	for _, t := range tables {
		c := TableCount{Table: t.name, Query: "SELECT count() FROM " + t.quoted() + " WHERE TenantId = {tenant:String}"}
		if err := conn.QueryRow(ctx, c.Query).Scan(&c.Rows); err != nil {
			return nil, fmt.Errorf("count rows of %s: %w", t.name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// DeleteTenant removes every row of a tenant and returns nil only after counting has found none left, in any table. It may be
// called again after an error, and goes on where it stopped; it takes as long as ClickHouse needs to rewrite the parts that the
// tenant shares with others. say, unless nil, is told what is under way.
//
// Rows that arrive meanwhile may survive: the caller must have stopped the tenant's ingest, and seen Cleared of every log.
func DeleteTenant(ctx context.Context, conn driver.Conn, id tenant.ID, say func(doing string)) error {
	if id.IsZero() {
		return fmt.Errorf("delete tenant: zero tenant id")
	}
	if say == nil {
		say = func(string) {}
	}
	tables, err := tenantTables(ctx, conn)
	if err != nil {
		return fmt.Errorf("delete tenant %s: %w", id, err)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"tenant": id.String()}))
	for i, t := range tables {
		e := eraser{conn: conn, id: id, table: t, say: func(doing string) { say(fmt.Sprintf("%s (%d of %d): %s", t.name, i+1, len(tables), doing)) }}
		if err := e.erase(ctx); err != nil {
			return fmt.Errorf("delete tenant %s: %s: %w", id, t.name, err)
		}
	}
	return nil
}

// eraser removes a tenant's rows from one table. Its contexts carry the tenant as a parameter.
type eraser struct {
	conn  driver.Conn
	id    tenant.ID
	table tenantTable
	say   func(doing string)
}

// eraseRounds is how often a table is gone through before rows that are left are an error.
const eraseRounds = 3

// erase drops the partitions that are the tenant's own, and has ClickHouse rewrite those parts of the others that have rows of it.
// A rewriting survives a kill of either side; one that is under way is waited for, not asked for again.
func (e eraser) erase(ctx context.Context) error {
	for round := 0; ; round++ {
		if err := e.rewritten(ctx); err != nil {
			return err
		}
		if e.table.own {
			if err := e.dropPartitions(ctx); err != nil {
				return err
			}
		}
		left, err := e.partitionsLeft(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		if round == eraseRounds {
			return fmt.Errorf("rows are left in %d partitions", len(left))
		}
		for _, partition := range left {
			// SECURITY: the id is of tenant.ID's alphabet, which has no quote; ALTER takes no bound parameters. A partition id is
			// ClickHouse's own.
			err := e.conn.Exec(e.with(ctx), "ALTER TABLE "+e.table.quoted()+" DELETE IN PARTITION ID '"+partition+"' WHERE "+e.condition())
			if err != nil {
				return fmt.Errorf("delete rows of partition %s: %w", partition, err)
			}
		}
	}
}

func (e eraser) condition() string { return "TenantId = '" + e.id.String() + "'" }

func (e eraser) partitionsLeft(ctx context.Context) ([]string, error) {
	return e.list(ctx, "SELECT DISTINCT _partition_id FROM "+e.table.quoted()+" WHERE TenantId = {tenant:String} ORDER BY 1")
}

// dropPartitions drops the partitions that hold this tenant alone, which costs nothing, whatever their size.
func (e eraser) dropPartitions(ctx context.Context) error {
	ids, err := e.list(ctx, `SELECT DISTINCT partition_id FROM system.parts WHERE database = currentDatabase() AND table = {table:String}
		AND active AND startsWith(partition, concat('(\'', {tenant:String}, '\',')) ORDER BY 1`)
	if err != nil {
		return err
	}
	for i, id := range ids {
		e.say(fmt.Sprintf("dropping partition %d of %d", i+1, len(ids)))
		if err := e.conn.Exec(ctx, "ALTER TABLE "+e.table.quoted()+" DROP PARTITION ID '"+id+"'"); err != nil {
			return fmt.Errorf("drop partition %s: %w", id, err)
		}
	}
	return nil
}

// rewriteInterval is how often a rewriting is asked about.
const rewriteInterval = 100 * time.Millisecond

// rewritten waits until no rewriting for this tenant is under way in the table.
func (e eraser) rewritten(ctx context.Context) error {
	tick := time.NewTicker(rewriteInterval)
	defer tick.Stop()
	for {
		var left, parts uint64
		var failed string
		err := e.conn.QueryRow(e.with(ctx), `SELECT count(), toUInt64(sum(parts_to_do)), max(latest_fail_reason) FROM system.mutations
			WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done AND NOT is_killed AND position(command, {condition:String}) > 0`).
			Scan(&left, &parts, &failed)
		switch {
		case err != nil:
			return fmt.Errorf("ask for the rewriting of parts: %w", err)
		case left == 0:
			return nil
		case failed != "":
			return fmt.Errorf("ClickHouse cannot rewrite %d parts yet, and goes on trying: %s", parts, failed)
		}
		e.say(fmt.Sprintf("%d parts are being rewritten", parts))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e eraser) with(ctx context.Context) context.Context {
	return clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{
		"tenant": e.id.String(), "table": e.table.name, "condition": e.condition()}),
		clickhouse.WithSettings(clickhouse.Settings{"mutations_sync": 0})) // waiting is rewritten's: no statement lasts as long
}

func (e eraser) list(ctx context.Context, query string) (out []string, err error) {
	rows, err := e.conn.Query(e.with(ctx), query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// Quiet returns nil when no INSERT of any log has been under way for longer than age: one of a process that was killed goes on
// for a while.
func Quiet(ctx context.Context, conn driver.Conn, age time.Duration) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"age": fmt.Sprintf("%.3f", age.Seconds())}))
	var n uint64
	err := conn.QueryRow(ctx, `SELECT count() FROM system.processes
		WHERE startsWith(Settings['insert_deduplication_token'], 'headgate-') AND elapsed > {age:Float64}`).Scan(&n)
	if err != nil {
		return fmt.Errorf("ask for running inserts: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("%d inserts that began before are still being carried out", n)
	}
	return nil
}
