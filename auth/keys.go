package auth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Keys is the control of API keys. Each method takes the principal that asks, who needs keys.manage in the key's tenant:
// ErrNotFound for keys out of reach, like ids that do not exist, ErrForbidden within reach.
type Keys struct{ d *Directory }

// Key is what is known of an API key. The secret is not.
type Key struct {
	ID     string
	Tenant tenant.ID
	Name   string     // for people; keys may share one
	Owner  string     // id of the user of the tenant who answers for the key, "" for none
	Scopes []KeyScope // sorted
	// DailyBytes is the bytes billed through the key per day at most; nil is unlimited, with 0 nothing passes. Days are those
	// of the tenant's zone.
	DailyBytes *int64
	Bounds     []tenant.Bound // all other limits, by kind and signal
	// CORSOrigins are those that browsers may use the key from, sorted; none says nothing about browsers.
	CORSOrigins []string
	// ClientCertificates name those with which alone the key is taken, sorted; none is any and no certificate.
	ClientCertificates []string
	CreatedAt          time.Time
	ExpiresAt          *time.Time // nil is never
	RevokedAt          *time.Time // nil unless revoked
	LastUsed           *time.Time // by any of its secrets, to the minute, known a minute or two later; nil is never
	// RotatedAt is when the key was last given another secret. The one before opens until OldUntil, nil for not at all, and was
	// last used since then at OldLastUsed, as LastUsed.
	RotatedAt   *time.Time
	OldUntil    *time.Time
	OldLastUsed *time.Time

	unread string // the limits as stored, if this version does not understand them
}

// NewKey is what Create needs. Scopes is required.
type NewKey struct {
	Tenant      string // name or id
	Name        string
	Owner       string // id of a user of the tenant
	Scopes      []KeyScope
	DailyBytes  *int64
	Bounds      []tenant.Bound // no StorageBytes
	CORSOrigins []string       // each as ParseOrigin has it; only with the scope ingest
	// ClientCertificates is each a URI, dns:NAME or sha256:HASH of a certificate; only where ingest is the sole scope, since nothing
	// but OTLP verifies certificates of clients.
	ClientCertificates []string
	ExpiresAt          *time.Time
}

// Create makes a key and returns its text, which is stored nowhere and cannot be shown again. Errors: ErrNotFound for the
// tenant and the owner, ErrForbidden for a scope that the caller lacks, ErrInvalid, ErrLimitKeys, ErrState for a tenant that is
// being deleted.
func (s *Keys) Create(ctx context.Context, by Principal, n NewKey) (Key, string, error) {
	var k Key
	secret := newSecret()
	err := s.d.change(ctx, by, "key.create", n.Tenant, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := permitted(ctx, tx, by, permission.KeysManage, n.Tenant)
		if err != nil {
			return Entry{}, err
		}
		if t.Status == Deleting {
			return Entry{}, detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		if err := n.check(by, t.ID, at); err != nil {
			return Entry{}, err
		}
		if err := checkKeyOwner(ctx, tx, t.ID, n.Owner); err != nil {
			return Entry{}, err
		}
		if err := unsafeKeyLimit(ctx, tx, t, at); err != nil {
			return Entry{}, err
		}
		origins, err := parseOrigins(n.CORSOrigins)
		if err != nil {
			return Entry{}, err
		}
		certs, err := parseCertificates(n.ClientCertificates)
		if err != nil {
			return Entry{}, err
		}
		k = Key{ID: newID(at), Tenant: t.ID, Name: n.Name, Owner: n.Owner, Scopes: slices.Compact(slices.Sorted(slices.Values(n.Scopes))),
			DailyBytes: n.DailyBytes, Bounds: sortBounds(n.Bounds), CORSOrigins: origins, ClientCertificates: certs, CreatedAt: at}
		var expires any
		if n.ExpiresAt != nil {
			e := n.ExpiresAt.UTC().Truncate(time.Millisecond)
			k.ExpiresAt, expires = &e, e.UnixMilli()
		}
		mac := s.d.mac(k.ID, secret)
		_, err = tx.ExecContext(ctx, `INSERT INTO api_keys (id, tenant_id, mac, scopes, daily_bytes, created_at, expires_at, cors_origins, limits,
			name, owner_user, client_certs, rev) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, t.ID.String(), mac[:], joinScopes(k.Scopes), k.DailyBytes, at.UnixMilli(), expires, strings.Join(origins, " "),
			boundsText(k.Bounds), k.Name, k.Owner, strings.Join(certs, " "), rev)
		return keyEntryOf(k), err
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, keyText(k.ID, secret), nil
}

// check returns the first rule that n breaks.
func (n NewKey) check(by Principal, owner tenant.ID, at time.Time) error {
	if len(n.Scopes) == 0 {
		return detail(ErrInvalid, "key: no scope")
	}
	for _, sc := range n.Scopes {
		switch sc {
		case ScopeIngest, ScopeQuery, ScopeUsage, ScopeAdmin:
		case ScopeDescendants:
			if !slices.Contains(n.Scopes, ScopeQuery) {
				return detail(ErrInvalid, "key scope descendants: it goes with query")
			}
		default:
			return detail(ErrInvalid, "key scope %q: want ingest, query, usage, admin or descendants", clip(string(sc)))
		}
	}
	if err := by.mayHold(owner, n.Scopes); err != nil {
		return err
	}
	if err := checkKeyName(n.Name); err != nil {
		return err
	}
	if len(n.CORSOrigins) > 0 && !slices.Contains(n.Scopes, ScopeIngest) {
		return detail(ErrInvalid, "key origins: they are for keys with the scope ingest")
	}
	if len(n.ClientCertificates) > 0 && slices.ContainsFunc(n.Scopes, func(sc KeyScope) bool { return sc != ScopeIngest }) {
		return detail(ErrInvalid, "key certificates: they are for keys with the scope ingest alone")
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
// end. Without a tenant they are those of all tenants in which by has keys.manage. limit 0 is 100, at most 1000.
func (s *Keys) List(ctx context.Context, by Principal, tenantRef, after string, limit int) (out []Key, next string, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return nil, "", err
	}
	limit = pageSize(limit)
	after = plainText(after)
	var of tenant.ID
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		query := func(and string, args []any, after string, n int) ([]keyRow, error) {
			return queryKeys(ctx, tx, `WHERE id > ?`+and+` ORDER BY id LIMIT ?`, append(append([]any{after}, args...), n)...)
		}
		var rows []keyRow
		if tenantRef != "" {
			t, err := permitted(ctx, tx, by, permission.KeysManage, tenantRef)
			if err != nil {
				return err
			}
			of = t.ID
			and, args := inTenants("tenant_id", []tenant.ID{t.ID})
			if rows, err = query(and, args, after, limit+1); err != nil {
				return err
			}
		} else {
			var err error
			rows, err = pageWithin(by, permission.KeysManage, "tenant_id", limit, after, query,
				func(r keyRow) tenant.ID { return r.Tenant }, func(r keyRow) string { return r.ID })
			if err != nil {
				return err
			}
		}
		for _, r := range rows {
			out = append(out, r.Key)
		}
		return nil
	})
	if err == nil && !of.IsZero() {
		err = s.d.auditVisit(ctx, by, of, "key.list", of.String())
	}
	if err != nil {
		return nil, "", err
	}
	out, next = page(out, limit, func(r *Key) string { return r.ID })
	return out, next, nil
}

// Show returns one key, or ErrNotFound.
func (s *Keys) Show(ctx context.Context, by Principal, id string) (k Key, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		k, err = findKey(ctx, tx, by, id)
		return err
	})
	if err == nil {
		err = s.d.auditVisit(ctx, by, k.Tenant, "key.show", k.ID)
	}
	if err != nil {
		return Key{}, err
	}
	return k, nil
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
		k.OldUntil = nil // both secrets end
		_, err = tx.ExecContext(ctx, `UPDATE api_keys SET revoked_at = ?, old_mac = NULL, old_until = NULL, rev = ? WHERE id = ? AND tenant_id = ?`,
			k.RevokedAt.UnixMilli(), rev, k.ID, k.Tenant.String())
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
	return rows[0].Key, by.Can(permission.KeysManage, rows[0].Tenant)
}

func keyEntryOf(k Key) Entry {
	return Entry{Tenant: k.Tenant, Target: k.ID, Detail: auditDetail{Key: detailOf(k)}.json()}
}

func detailOf(k Key) *keyDetail {
	return &keyDetail{k.Scopes, k.DailyBytes, k.Bounds, k.CORSOrigins, k.ClientCertificates, k.ExpiresAt, k.Name, k.Owner, k.OldUntil}
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
