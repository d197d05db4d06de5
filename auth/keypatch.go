package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// KeyPatch is a partial update of a key: nil fields stay.
type KeyPatch struct {
	// DailyBytes sets the limit; Unlimited removes it. Both together are an error.
	DailyBytes *int64
	Unlimited  bool
	Bounds     *[]tenant.Bound // all of them: those that are left out are removed
	Name       *string
	Owner      *string // id of a user of the tenant, "" for nobody
}

// Set changes what p names and returns the key as it is then. Errors: ErrNotFound for the owner too, ErrForbidden, ErrInvalid,
// ErrState for a key that is revoked.
func (s *Keys) Set(ctx context.Context, by Principal, id string, p KeyPatch) (Key, error) {
	var k Key
	err := s.d.change(ctx, by, "key.set", id, func(tx *store.Tx, rev int64, _ time.Time) (Entry, error) {
		var err error
		if k, err = findKey(ctx, tx, by, id); err != nil {
			return Entry{}, err
		}
		if k.RevokedAt != nil {
			return Entry{}, detail(ErrState, "key %s: is revoked", k.ID)
		}
		before := k
		if err := p.apply(&k); err != nil {
			return Entry{}, err
		}
		if p.Owner != nil {
			if err := checkKeyOwner(ctx, tx, k.Tenant, k.Owner); err != nil {
				return Entry{}, err
			}
		}
		limits := boundsText(k.Bounds)
		if k.unread != "" {
			limits = k.unread
		}
		_, err = tx.ExecContext(ctx, `UPDATE api_keys SET daily_bytes = ?, limits = ?, name = ?, owner_user = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
			k.DailyBytes, limits, k.Name, k.Owner, rev, k.ID, k.Tenant.String())
		return Entry{Tenant: k.Tenant, Target: k.ID, Detail: auditDetail{KeyBefore: detailOf(before), Key: detailOf(k)}.json()}, err
	})
	if err != nil {
		return Key{}, err
	}
	return k, nil
}

func (p KeyPatch) apply(k *Key) error {
	if p.Unlimited && p.DailyBytes != nil {
		return detail(ErrInvalid, "daily limit: both a number of bytes and unlimited")
	}
	if p.Unlimited || p.DailyBytes != nil {
		k.DailyBytes = p.DailyBytes
	}
	if p.Bounds != nil {
		k.Bounds, k.unread = sortBounds(*p.Bounds), ""
	}
	if p.Name != nil {
		k.Name = *p.Name
	}
	if p.Owner != nil {
		k.Owner = *p.Owner
	}
	if err := checkKeyName(k.Name); err != nil {
		return err
	}
	if err := checkBounds(k.Bounds, true); err != nil {
		return err
	}
	return checkDailyBytes(k.DailyBytes)
}
