package storage

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

// DeleteTenant removes every row of a tenant and returns nil only after counting has found none left. It may be called
// again after an error; it takes as long as ClickHouse needs to rewrite the parts that the tenant shares with others.
//
// The caller must have stopped the tenant's ingest: rows that arrive meanwhile may survive.
func DeleteTenant(ctx context.Context, conn driver.Conn, id tenant.ID) error {
	if id.IsZero() {
		return fmt.Errorf("delete tenant: zero tenant id")
	}
	param := clickhouse.WithParameters(clickhouse.Parameters{"tenant": id.String()})
	ctx = clickhouse.Context(ctx, param, clickhouse.WithSettings(clickhouse.Settings{"mutations_sync": 2}))
	for _, table := range schema.Tables {
		if err := dropOwnPartitions(ctx, conn, table); err != nil {
			return fmt.Errorf("delete tenant %s: %s: %w", id, table, err)
		}
		left, err := countRows(ctx, conn, table)
		if err != nil {
			return fmt.Errorf("delete tenant %s: %w", id, err)
		}
		if left == 0 {
			continue
		}
		// SECURITY: the id is of tenant.ID's alphabet, which has no quote; ALTER takes no bound parameters.
		if err := conn.Exec(ctx, "ALTER TABLE "+table+" DELETE WHERE TenantId = '"+id.String()+"'"); err != nil {
			return fmt.Errorf("delete tenant %s: rows of %s: %w", id, table, err)
		}
		left, err = countRows(ctx, conn, table)
		if err != nil {
			return fmt.Errorf("delete tenant %s: %w", id, err)
		}
		if left > 0 {
			return fmt.Errorf("delete tenant %s: %d rows are left in %s", id, left, table)
		}
	}
	return nil
}

func countRows(ctx context.Context, conn driver.Conn, table string) (n uint64, err error) {
	err = conn.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE TenantId = {tenant:String}").Scan(&n)
	if err != nil {
		err = fmt.Errorf("count rows of %s: %w", table, err)
	}
	return n, err
}

// dropOwnPartitions drops the partitions that hold this tenant alone, which costs nothing, whatever their size.
func dropOwnPartitions(ctx context.Context, conn driver.Conn, table string) error {
	rows, err := conn.Query(ctx, `SELECT DISTINCT partition_id FROM system.parts
		WHERE database = currentDatabase() AND table = '`+table+`' AND active AND startsWith(partition, concat('(\'', {tenant:String}, '\','))`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := conn.Exec(ctx, "ALTER TABLE "+table+" DROP PARTITION ID '"+id+"'"); err != nil {
			return err
		}
	}
	return nil
}
