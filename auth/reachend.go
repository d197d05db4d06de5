package auth

import (
	"context"
	"database/sql"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// unsafeEndReach withdraws grants and revokes access requests, pending ones too, of a condition on user_id and tenant_id, and says so
// in the audit of each tenant that was reached. before goes in front of the statements, with its arguments.
//
// SECURITY: it crosses tenants; each is told of its own alone.
func unsafeEndReach(ctx context.Context, tx *store.Tx, before string, beforeArgs []any, condition string, conditionArgs []any, rev int64, at time.Time) error {
	args := func(between ...any) []any {
		return append(append(append([]any{}, beforeArgs...), between...), conditionArgs...)
	}
	for _, end := range []struct{ find, set, action, what string }{
		{`SELECT user_id, tenant_id, (SELECT email FROM users WHERE id = user_id) FROM tenant_grants WHERE withdrawn_at IS NULL AND `,
			`UPDATE tenant_grants SET withdrawn_at = ?, rev = ? WHERE withdrawn_at IS NULL AND `, "grant.withdraw", "grant"},
		{`SELECT id, tenant_id, user_email FROM access_requests WHERE status IN ('pending', 'active') AND `,
			`UPDATE access_requests SET status = 'revoked', decided_by = 'system', decided_at = ?, rev = ? WHERE status IN ('pending', 'active') AND `,
			"access.revoke", "access"},
	} {
		ended, err := collect(ctx, tx, before+end.find+condition+` ORDER BY 1, 2`, func(rows *sql.Rows) (e Entry, err error) {
			var of, email string
			if err = rows.Scan(&e.Target, &of, &email); err != nil {
				return e, err
			}
			e.Detail = changeDetail(end.what, nil, map[string]any{"user": email, "tenant": of})
			e.Tenant, err = tenant.ParseID(of)
			return e, err
		}, args()...)
		if err != nil {
			return err
		}
		for _, e := range ended {
			e.At, e.Actor, e.Action, e.Outcome = at, System, end.action, OutcomeOK
			if err := writeEntry(ctx, tx, e); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, before+end.set+condition, args(at.UnixMilli(), rev)...); err != nil {
			return err
		}
	}
	return nil
}
