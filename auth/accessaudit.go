package auth

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// AuditCrossTenant records that by reads something of a tenant that is not its home: under that tenant, and under the home of a
// user. Of one's own tenant it records nothing. It is called before the answer leaves, for what was not recorded is not answered.
// action says what is read, such as "query.run", target of what.
//
// SECURITY: the tenant is told who read, by address, and by which access; of the reader's tenant it is told nothing.
func (d *Directory) AuditCrossTenant(ctx context.Context, by Principal, t tenant.ID, action, target string) error {
	if by.Home() == t || isPeek(ctx) {
		return nil
	}
	ctx = Unheld(ctx)
	at := d.now().UTC().Truncate(time.Millisecond)
	e := by.entry(at, action)
	e.Tenant, e.Target, e.Detail = t, target, changeDetail("read", nil, d.readDetail(by, t, at))
	return d.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := atHomeToo(ctx, tx, by, at, action, by.Home(), e); err != nil {
			return err
		}
		return writeEntry(ctx, tx, e)
	})
}

// readDetail is what a tenant is told of who reads in it.
func (d *Directory) readDetail(by Principal, t tenant.ID, at time.Time) map[string]any {
	read := map[string]any{"tenant": t.String()}
	if id := by.User(); id != "" {
		d.mu.RLock()
		if u := d.people.users[id]; u != nil {
			read["user"] = u.Email
		}
		var ids []string
		for _, a := range d.people.access[id] {
			if a.tenant == t && at.Before(a.until) {
				ids = append(ids, a.id)
			}
		}
		d.mu.RUnlock()
		if len(ids) > 0 {
			read["access"] = ids
		}
	}
	return read
}

// atHomeToo writes e under the home of the user whom it concerns, unless that is where it belongs anyway, and returns it.
func atHomeToo(ctx context.Context, tx *store.Tx, by Principal, at time.Time, action string, home tenant.ID, e Entry) (Entry, error) {
	if home.IsZero() || home == e.Tenant {
		return e, nil
	}
	h := by.entry(at, action)
	h.Tenant, h.Target, h.Detail = home, e.Target, e.Detail
	return e, writeEntry(ctx, tx, h)
}
