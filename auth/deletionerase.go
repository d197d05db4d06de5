package auth

import (
	"context"
	"fmt"
	"slices"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// keptTables have a column tenant_id and outlive a tenant: what was invoiced, by which name, and what was done to it.
var keptTables = []string{"audit", "audit_heads", "deletions", "usage_corrections", "usage_hours", "usage_names"}

// erasure is one statement, whose every ? is the tenant's id.
type erasure struct{ table, where string }

const (
	itsUsers    = `(SELECT id FROM users WHERE tenant_id = ?)`
	itsKeys     = `(SELECT id FROM api_keys WHERE tenant_id = ?)`
	itsTeams    = `(SELECT id FROM teams WHERE tenant_id = ?)`
	itsWebhooks = `(SELECT id FROM webhooks WHERE tenant_id = ?)`
	itsAlerts   = `(SELECT id FROM alerts WHERE tenant_id = ?)`
)

// dependents are rows that belong to a tenant by something else of it. They go before what they belong to.
var dependents = []erasure{
	{"idempotency", `caller IN (SELECT 'key:' || id FROM api_keys WHERE tenant_id = ?) OR caller IN (SELECT 'user:' || id FROM users WHERE tenant_id = ?)`},
	{"recovery_codes", `user_id IN ` + itsUsers},
	{"tokens", `user_id IN ` + itsUsers},
	{"sessions", `user_id IN ` + itsUsers},
	{"team_members", `user_id IN ` + itsUsers + ` OR team_id IN ` + itsTeams},
	{"team_roles", `team_id IN ` + itsTeams},
	{"tenant_grants", `user_id IN ` + itsUsers},
	{"access_requests", `user_id IN ` + itsUsers},
	{"webhook_deliveries", `webhook_id IN ` + itsWebhooks + ` OR alert_id IN ` + itsAlerts},
	{"day_use", `owner_id = ? OR owner_id IN ` + itsKeys},
	{"day_leases", `owner_id = ? OR owner_id IN ` + itsKeys},
}

// lastTables are those that rows of others refer to; of the other tables with a tenant_id any order will do.
var lastTables = []string{"webhooks", "alerts", "teams", "users", "roles", "api_keys"}

// erasures returns what removes all of a tenant's from the state database, in an order that references between rows allow. Tables
// of later versions are found at this moment.
func erasures(ctx context.Context, tx *store.Tx) ([]erasure, error) {
	found, err := tx.TablesWith(ctx, "tenant_id")
	if err != nil {
		return nil, err
	}
	out := slices.Clone(dependents)
	for _, table := range found {
		if !slices.Contains(keptTables, table) && !slices.Contains(lastTables, table) {
			out = append(out, erasure{table, `tenant_id = ?`})
		}
	}
	for _, table := range lastTables {
		out = append(out, erasure{table, `tenant_id = ?`})
	}
	return out, nil
}

// arguments returns the tenant once for each ?.
func (e erasure) arguments(id tenant.ID) (args []any) {
	for _, c := range e.where {
		if c == '?' {
			args = append(args, id.String())
		}
	}
	return args
}

func (e erasure) run(ctx context.Context, tx *store.Tx, id tenant.ID) (rows int64, err error) {
	res, err := tx.ExecContext(ctx, `DELETE FROM `+e.table+` WHERE `+e.where, e.arguments(id)...)
	if err != nil {
		return 0, fmt.Errorf("remove rows of %s: %w", e.table, err)
	}
	return res.RowsAffected()
}

// checkState counts what the state database has left of a tenant, in every table but those that are kept.
func checkState(ctx context.Context, tx *store.Tx, id tenant.ID) (checks []RowCheck, err error) {
	all, err := erasures(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		c := RowCheck{Store: InState, Query: `SELECT count(*) FROM ` + e.table + ` WHERE ` + e.where}
		if err := tx.QueryRowContext(ctx, c.Query, e.arguments(id)...).Scan(&c.Rows); err != nil {
			return nil, fmt.Errorf("count rows of %s: %w", e.table, err)
		}
		checks = append(checks, c)
	}
	return checks, nil
}
