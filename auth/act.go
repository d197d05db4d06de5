package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// System is the actor of entries that nobody asked for: what headgate notices itself.
const System = "system"

// Act runs fn in one transaction with the audit entry that fn returns, for changes of tables that are not auth's. fn sets
// the entry's Tenant, Target and Detail, without secrets; Act sets the rest. With an error of fn nothing is kept, and if
// that is ErrForbidden the refusal is audited. target names the thing for that case.
func (d *Directory) Act(ctx context.Context, by Principal, action, target string,
	fn func(tx *store.Tx, at time.Time) (Entry, error)) error {
	return d.change(ctx, by, action, target, func(tx *store.Tx, _ int64, at time.Time) (Entry, error) { return fn(tx, at) })
}

// Note adds an entry by System to the audit of the tenant with that id, in a transaction of the caller.
func Note(ctx context.Context, tx *store.Tx, at time.Time, tenantID, action, target string, detail json.RawMessage) error {
	id, err := tenant.ParseID(tenantID)
	if err != nil {
		return err
	}
	return writeEntry(ctx, tx, Entry{At: at, Actor: System, Tenant: id, Action: action, Target: target, Outcome: OutcomeOK,
		Detail: detail})
}

// DeriveKey returns a key for the purpose, which is a constant of the code. It is the same on every process that has the
// pepper, and tells nothing of the pepper or of other keys: what is encrypted with it is as safe as the pepper is.
func (d *Directory) DeriveKey(purpose string) (out [sha256.Size]byte) {
	h := d.macs.Get().(hash.Hash)
	defer d.macs.Put(h)
	h.Reset()
	// SECURITY: no API key is hashed like this: ids have no blank, and the pepper's check value begins otherwise.
	h.Write([]byte("headgate derived key " + purpose))
	h.Sum(out[:0])
	return out
}
