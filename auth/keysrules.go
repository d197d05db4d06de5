package auth

import (
	"context"
	"database/sql"
	"slices"
	"time"
	"unicode"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

const maxKeyNameBytes = 100

// mayHold returns nil if by may hold the text of a key of the tenant with these scopes.
//
// SECURITY: nobody grants what they do not have. A key gives the scopes it has; a user what a key with the scope may do, and who
// manages keys may send. A key outlives access for a time, so that does not count. The operator's token reads no telemetry, but
// its holder may make any key: that act is audited under the tenant.
func (p Principal) mayHold(owner tenant.ID, scopes []KeyScope) error {
	if p.IsOperator() {
		return nil
	}
	if p.User() == "" {
		for _, sc := range scopes {
			if p.Require(sc) != nil {
				return detail(ErrForbidden, "key scope %s: your own key lacks it", sc)
			}
		}
		return nil
	}
	own, forGood := p.standing(owner)
	if !forGood {
		return detail(ErrForbidden, "key: you reach the tenant for a time only")
	}
	for _, sc := range scopes {
		// SECURITY: only who reaches all that is below for good, and all that will be, gives a key that reads it.
		if sc == ScopeDescendants && own != permission.Everything {
			return detail(ErrForbidden, "key scope descendants: you do not reach all organizations below")
		}
		if need := keyPermissions[sc] | permission.Of(permission.KeysManage); !own.Covers(need) {
			return detail(ErrForbidden, "key scope %s: your own permissions there lack %s", sc, need&^own)
		}
	}
	return nil
}

// checkKeyName wants what can be shown on a line.
func checkKeyName(s string) error {
	bad := len(s) > maxKeyNameBytes || plainText(s) != s || slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) })
	if bad || s != "" && (s[0] == ' ' || s[len(s)-1] == ' ') {
		return detail(ErrInvalid, "key name: want up to %d bytes of printable text, no blank at the ends", maxKeyNameBytes)
	}
	return nil
}

// checkKeyOwner returns ErrNotFound unless the user is of the tenant.
//
// SECURITY: users of other tenants are not found, by the same statement as those that do not exist.
func checkKeyOwner(ctx context.Context, tx *store.Tx, t tenant.ID, user string) error {
	if user == "" {
		return nil
	}
	rows, err := queryUsers(ctx, tx, `WHERE id = ? AND tenant_id = ? AND deleted_at IS NULL`, plainText(user), t.String())
	if err == nil && len(rows) == 0 {
		return detail(ErrNotFound, "no user %q", plainText(clip(user)))
	}
	return err
}

// unsafeKeyLimit returns ErrLimitKeys if one more key would be more than the tenant, or one above it, may have. Keys that are
// revoked or expired do not count.
//
// SECURITY: it counts over tenants that the caller may not reach, and tells of them only that there are too many.
func unsafeKeyLimit(ctx context.Context, tx *store.Tx, t Tenant, at time.Time) error {
	id := t.ID
	for depth := 0; depth < maxDepth && !id.IsZero(); depth++ {
		var most sql.NullInt64
		var parent sql.NullString
		err := tx.QueryRowContext(ctx, `SELECT max_keys, parent_id FROM tenants WHERE id = ?`, id.String()).Scan(&most, &parent)
		if err != nil {
			return err
		}
		if most.Valid {
			n, err := unsafeKeysBelow(ctx, tx, id, at)
			if err != nil {
				return err
			}
			if n >= most.Int64 {
				return ErrLimitKeys
			}
		}
		if !parent.Valid {
			return nil
		}
		if id, err = tenant.ParseID(parent.String); err != nil {
			return err
		}
	}
	return nil
}

// unsafeKeysBelow counts the live keys of a tenant and its descendants.
//
// SECURITY: it crosses tenants; for limits, and for who may see the tenant's own.
func unsafeKeysBelow(ctx context.Context, tx *store.Tx, t tenant.ID, at time.Time) (n int64, err error) {
	err = tx.QueryRowContext(ctx, `WITH RECURSIVE tree (id) AS (SELECT id FROM tenants WHERE id = ?
			UNION SELECT t.id FROM tenants t JOIN tree ON t.parent_id = tree.id WHERE t.deleted_at IS NULL)
		SELECT count(*) FROM api_keys WHERE tenant_id IN (SELECT id FROM tree) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)`,
		t.String(), at.UnixMilli()).Scan(&n)
	return n, err
}
