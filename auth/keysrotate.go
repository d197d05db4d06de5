package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// MaxOverlap is how long the secret before may go on opening after a rotation.
const MaxOverlap = 30 * 24 * time.Hour

// Rotate gives the key another secret and returns its new text, which is stored nowhere and cannot be shown again. The secret
// before opens until overlap has passed, at most MaxOverlap; with 0 it ends at once, and so does one that was still open from
// the rotation before. Other overlaps are refused until that has ended, for a key has at most two secrets and none that is in
// use ends unasked. Errors: ErrNotFound, ErrForbidden for a key with a scope that the caller lacks, ErrInvalid, ErrState for a
// key that is revoked or expired, or whose rotation goes on.
func (s *Keys) Rotate(ctx context.Context, by Principal, id string, overlap time.Duration) (Key, string, error) {
	var k Key
	secret := newSecret()
	err := s.d.change(ctx, by, "key.rotate", id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if k, err = findKey(ctx, tx, by, id); err != nil {
			return Entry{}, err
		}
		// SECURITY: the new text opens what the key opens, so rotating it is like making it.
		if err := by.mayHold(k.Tenant, k.Scopes); err != nil {
			return Entry{}, err
		}
		if err := k.rotatable(overlap, at); err != nil {
			return Entry{}, err
		}
		t, err := resolve(ctx, tx, by, k.Tenant.String())
		if err != nil {
			return Entry{}, err
		}
		if t.Status == Deleting {
			return Entry{}, detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		before := k
		mac := s.d.mac(k.ID, secret)
		k.RotatedAt, k.OldUntil, k.OldLastUsed = &at, nil, nil
		if overlap > 0 {
			until := at.Add(overlap).Truncate(time.Millisecond)
			k.OldUntil = &until
			_, err = tx.ExecContext(ctx, `UPDATE api_keys SET old_mac = mac, mac = ?, old_until = ?, old_used_at = NULL, rotated_at = ?, rev = ?
				WHERE id = ? AND tenant_id = ?`, mac[:], until.UnixMilli(), at.UnixMilli(), rev, k.ID, k.Tenant.String())
		} else {
			_, err = tx.ExecContext(ctx, `UPDATE api_keys SET old_mac = NULL, mac = ?, old_until = NULL, old_used_at = NULL, rotated_at = ?, rev = ?
				WHERE id = ? AND tenant_id = ?`, mac[:], at.UnixMilli(), rev, k.ID, k.Tenant.String())
		}
		return Entry{Tenant: k.Tenant, Target: k.ID, Detail: auditDetail{KeyBefore: detailOf(before), Key: detailOf(k)}.json()}, err
	})
	if err != nil {
		return Key{}, "", err
	}
	return k, keyText(k.ID, secret), nil
}

// rotatable returns why the key cannot be rotated at that moment.
func (k Key) rotatable(overlap time.Duration, at time.Time) error {
	switch {
	case overlap < 0 || overlap > MaxOverlap:
		return detail(ErrInvalid, "overlap of %s: want 0 to %s", overlap, MaxOverlap)
	case k.RevokedAt != nil:
		return detail(ErrState, "key %s: is revoked", k.ID)
	case k.ExpiresAt != nil && !at.Before(*k.ExpiresAt):
		return detail(ErrState, "key %s: has expired", k.ID)
	case overlap > 0 && k.OldUntil != nil && at.Before(*k.OldUntil):
		return detail(ErrState, "key %s: the secret before works until %s; rotate without an overlap to end it now", k.ID,
			k.OldUntil.UTC().Format(time.RFC3339))
	}
	return nil
}

// holds reports whether got is of one of the key's secrets, and whether of the older one.
//
// SECURITY: both comparisons are always made, for a key that there is not too, so that the time taken tells nothing.
func (e *keyEntry) holds(got *[sha256.Size]byte, now time.Time) (same, old bool) {
	var mac, before [sha256.Size]byte
	var open int
	if e != nil {
		mac = e.mac
		if e.old != nil {
			before = *e.old
		}
		if e.old != nil && e.key.OldUntil != nil && now.Before(*e.key.OldUntil) {
			open = 1
		}
	}
	first := subtle.ConstantTimeCompare(got[:], mac[:])
	second := subtle.ConstantTimeCompare(got[:], before[:]) & open
	return first|second == 1, second == 1
}

// entryOf is the row in memory. What is not written yet of the uses of the entry before is kept.
func entryOf(r keyRow, before *keyEntry) *keyEntry {
	e := &keyEntry{key: r.Key, mac: r.mac, old: r.old}
	if before != nil {
		e.used.from(&before.used)
		if sameSecret(e.old, before.old) {
			e.usedOld.from(&before.usedOld)
		}
	}
	return e
}

func sameSecret(a, b *[sha256.Size]byte) bool { return a != nil && b != nil && *a == *b }
