package auth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Keys is the control of API keys. Each method takes the principal that asks: the operator reaches the keys of all
// tenants, a key with the admin scope those of its own; all else is ErrNotFound.
type Keys struct{ d *Directory }

// Key is what is known of an API key. The secret is not.
type Key struct {
	ID     string
	Tenant tenant.ID
	Scopes []KeyScope // sorted
	// DailyBytes is the bytes billed through the key per day at most; nil is unlimited, with 0 nothing passes. Days are those
	// of the tenant's zone.
	DailyBytes *int64
	Bounds     []tenant.Bound // all other limits, by kind and signal
	// CORSOrigins are those that browsers may use the key from, sorted; none says nothing about browsers.
	CORSOrigins []string
	CreatedAt   time.Time
	ExpiresAt   *time.Time // nil is never
	RevokedAt   *time.Time // nil unless revoked
	LastUsed    *time.Time // to the minute, known a minute or two later; nil is never

	unread string // the limits as stored, if this version does not understand them
}

// NewKey is what Create needs. Scopes is required.
type NewKey struct {
	Tenant      string // name or id
	Scopes      []KeyScope
	DailyBytes  *int64
	Bounds      []tenant.Bound // no StorageBytes
	CORSOrigins []string       // each as ParseOrigin has it; only with the scope ingest
	ExpiresAt   *time.Time
}

// Create makes a key and returns its text, which is stored nowhere and cannot be shown again. Errors: ErrNotFound for the
// tenant, ErrForbidden for a scope that the caller lacks, ErrInvalid, ErrState for a tenant that is being deleted.
func (s *Keys) Create(ctx context.Context, by Principal, n NewKey) (Key, string, error) {
	var k Key
	secret := newSecret()
	err := s.d.change(ctx, by, "key.create", n.Tenant, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := resolve(ctx, tx, by, n.Tenant)
		if err != nil {
			return Entry{}, err
		}
		if t.Status == Deleting {
			return Entry{}, detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		if err := n.check(by, at); err != nil {
			return Entry{}, err
		}
		origins, err := parseOrigins(n.CORSOrigins)
		if err != nil {
			return Entry{}, err
		}
		k = Key{ID: newID(at), Tenant: t.ID, Scopes: slices.Compact(slices.Sorted(slices.Values(n.Scopes))),
			DailyBytes: n.DailyBytes, Bounds: sortBounds(n.Bounds), CORSOrigins: origins, CreatedAt: at}
		var expires any
		if n.ExpiresAt != nil {
			e := n.ExpiresAt.UTC().Truncate(time.Millisecond)
			k.ExpiresAt, expires = &e, e.UnixMilli()
		}
		mac := s.d.mac(k.ID, secret)
		_, err = tx.ExecContext(ctx, `INSERT INTO api_keys (id, tenant_id, mac, scopes, daily_bytes, created_at, expires_at, cors_origins, limits, rev)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, t.ID.String(), mac[:], joinScopes(k.Scopes), k.DailyBytes, at.UnixMilli(), expires, strings.Join(origins, " "),
			boundsText(k.Bounds), rev)
		return keyEntryOf(k), err
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, keyText(k.ID, secret), nil
}

// check returns the first rule that n breaks.
//
// SECURITY: nobody grants what they do not have. The operator's token reads no telemetry, but its holder may make any key:
// that act is audited under the tenant.
func (n NewKey) check(by Principal, at time.Time) error {
	if len(n.Scopes) == 0 {
		return detail(ErrInvalid, "key: no scope")
	}
	for _, sc := range n.Scopes {
		switch sc {
		case ScopeIngest, ScopeQuery, ScopeUsage, ScopeAdmin:
		default:
			return detail(ErrInvalid, "key scope %q: want ingest, query, usage or admin", clip(string(sc)))
		}
		if !by.IsOperator() && by.Require(sc) != nil {
			return detail(ErrForbidden, "key scope %s: your own key lacks it", sc)
		}
	}
	if len(n.CORSOrigins) > 0 && !slices.Contains(n.Scopes, ScopeIngest) {
		return detail(ErrInvalid, "key origins: they are for keys with the scope ingest")
	}
	if n.ExpiresAt != nil && !n.ExpiresAt.After(at) {
		return detail(ErrInvalid, "key expiry %s: is not in the future", n.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if err := checkBounds(n.Bounds, true); err != nil {
		return err
	}
	return checkDailyBytes(n.DailyBytes)
}

// List returns the tenant's keys, revoked ones too, oldest first, and what goes into after for the next page, "" at the
// end. Without a tenant they are those in the caller's reach: its own tenant's, or everybody's. limit 0 is 100, at most
// 1000.
func (s *Keys) List(ctx context.Context, by Principal, tenantRef, after string, limit int) (out []Key, next string, err error) {
	limit = pageSize(limit)
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		if err := by.Require(ScopeAdmin); err != nil {
			return err
		}
		owner := by.Tenant() // zero for the operator: everybody
		if tenantRef != "" {
			t, err := resolve(ctx, tx, by, tenantRef)
			if err != nil {
				return err
			}
			owner = t.ID
		}
		rows, err := queryKeys(ctx, tx, `WHERE (? = '' OR tenant_id = ?) AND id > ? ORDER BY id LIMIT ?`,
			owner.String(), owner.String(), plainText(after), limit+1)
		for _, r := range rows {
			out = append(out, r.Key)
		}
		return err
	})
	if err == nil && len(out) > limit {
		out = out[:limit]
		next = out[limit-1].ID
	}
	return out, next, err
}

// Show returns one key, or ErrNotFound.
func (s *Keys) Show(ctx context.Context, by Principal, id string) (k Key, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		k, err = findKey(ctx, tx, by, id)
		return err
	})
	return k, err
}

// Revoke ends a key for good. Revoking twice is fine and keeps the first time. Errors: ErrNotFound.
func (s *Keys) Revoke(ctx context.Context, by Principal, id string) (Key, error) {
	var k Key
	err := s.d.change(ctx, by, "key.revoke", id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if k, err = findKey(ctx, tx, by, id); err != nil {
			return Entry{}, err
		}
		if k.RevokedAt == nil {
			k.RevokedAt = &at
		}
		_, err = tx.ExecContext(ctx, `UPDATE api_keys SET revoked_at = ?, rev = ? WHERE id = ?`, k.RevokedAt.UnixMilli(), rev, id)
		return keyEntryOf(k), err
	})
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

// findKey returns the key of that id.
//
// SECURITY: keys of tenants out of reach are not found, by the same error as ids that do not exist.
func findKey(ctx context.Context, tx *store.Tx, by Principal, id string) (Key, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return Key{}, err
	}
	rows, err := queryKeys(ctx, tx, `WHERE id = ?`, plainText(id))
	if err != nil {
		return Key{}, err
	}
	if len(rows) == 0 || !by.reaches(rows[0].Tenant) {
		return Key{}, detail(ErrNotFound, "no key %q", clip(id))
	}
	return rows[0].Key, nil
}

func keyEntryOf(k Key) Entry {
	return Entry{Tenant: k.Tenant, Target: k.ID, Detail: auditDetail{Key: detailOf(k)}.json()}
}

func detailOf(k Key) *keyDetail {
	return &keyDetail{k.Scopes, k.DailyBytes, k.Bounds, k.CORSOrigins, k.ExpiresAt}
}

func joinScopes(s []KeyScope) string {
	parts := make([]string, len(s))
	for i, sc := range s {
		parts[i] = string(sc)
	}
	return strings.Join(parts, ",")
}

func splitScopes(s string) []KeyScope {
	var out []KeyScope
	for _, p := range strings.Split(s, ",") {
		out = append(out, KeyScope(p))
	}
	return out
}
