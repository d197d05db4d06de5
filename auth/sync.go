package auth

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// syncTimeout bounds one look for changes, so that a stuck database does not stop the looking.
const syncTimeout = 5 * time.Second

// delta is what changed between two values of changes.n, or everything.
type delta struct {
	n       int64
	all     bool
	tenants []tenantRow
	keys    []keyRow
	people  peopleDelta
}

// sync brings memory up to the newest committed change.
func (d *Directory) sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	d.syncMu.Lock()
	defer d.syncMu.Unlock()
	d.fresh.begin(d.now())
	x, err := d.read(ctx, d.seen)
	if err != nil {
		if ctx.Err() != context.Canceled {
			d.m.syncFailures.Inc()
			d.fresh.fail()
		}
		return err
	}
	d.m.syncedAt.Set(float64(d.now().Unix()))
	if x.n != d.seen {
		d.apply(x)
		d.seen = x.n
	}
	d.fresh.succeed()
	return nil
}

// read finds what changed since seen, in one read transaction: the counter and the rows belong together.
func (d *Directory) read(ctx context.Context, seen int64) (x delta, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT n FROM changes`).Scan(&x.n); err != nil {
			return err
		}
		if x.n == seen {
			return nil
		}
		if x.n < seen { // an older database was put in place: what memory holds may never have happened
			seen = -1
		}
		x.all = seen == -1
		var err error
		if x.tenants, err = queryTenants(ctx, tx, `WHERE rev > ?`, seen); err != nil {
			return fmt.Errorf("tenants: %w", err)
		}
		if x.keys, err = queryKeys(ctx, tx, `WHERE rev > ?`, seen); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		if x.people, err = readPeople(ctx, tx, seen); err != nil {
			return err
		}
		return nil
	})
	return x, err
}

// apply puts x into memory. Authenticate waits for it: microseconds per changed row.
func (d *Directory) apply(x delta) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version++
	if x.all {
		d.tenants = make(map[tenant.ID]*Tenant, len(x.tenants))
		d.keys = make(map[string]*keyEntry, len(x.keys))
		d.origins = map[string]int{}
		d.people = newPeople()
	}
	gone := map[tenant.ID]bool{}
	for _, r := range x.tenants {
		d.tenants[r.ID] = &r.Tenant
		if !r.readable() {
			d.log.Error("limits of a tenant are not understood, its keys are refused", "tenant", r.ID.String(), "limits", r.unread, "time_zone", r.TimeZone)
		}
		if r.gone {
			gone[r.ID] = true
		}
	}
	for _, r := range x.keys {
		if r.RevokedAt != nil {
			d.dropKeyLocked(r.ID)
			continue
		}
		if r.unread != "" {
			d.log.Error("limits of a key are not understood, it is refused", "tenant", r.Tenant.String(), "key_id", r.ID, "limits", r.unread)
		}
		d.putKeyLocked(entryOf(r, d.keys[r.ID]))
	}
	if len(gone) > 0 { // their keys' rows are no more, so no row says so
		for id, e := range d.keys {
			if gone[e.key.Tenant] {
				d.dropKeyLocked(id)
			}
		}
	}
	d.people.apply(x.people, gone)
	d.m.tenants.Set(float64(len(d.tenants)))
	d.m.keys.Set(float64(len(d.keys)))
}

// change runs fn in one transaction with the step of the changes counter and the audit entry that fn returns, and then
// brings memory up to it: when change returns nil, the change is durable and in force in this process. fn's rows carry
// rev.
//
// A refusal for want of permission is audited too, on its own.
func (d *Directory) change(ctx context.Context, by Principal, action, target string,
	fn func(tx *store.Tx, rev int64, at time.Time) (Entry, error)) error {
	at := d.now().UTC().Truncate(time.Millisecond)
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		var rev int64
		if err := tx.QueryRowContext(ctx, `UPDATE changes SET n = n + 1 RETURNING n`).Scan(&rev); err != nil {
			return err
		}
		home := by.Home()
		before, _, err := chainHead(ctx, tx, home.String())
		if err != nil {
			return err
		}
		e, err := fn(tx, rev, at)
		if err != nil {
			return err
		}
		e.At, e.Actor, e.Acting, e.Action, e.Outcome = at, by.actor(), by.Tenant(), action, OutcomeOK
		if by.User() != "" && home != e.Tenant { // what a user does elsewhere is told at home too, unless fn has
			after, _, err := chainHead(ctx, tx, home.String())
			if err != nil {
				return err
			}
			if h := e; after == before {
				h.Tenant = home
				if err := writeEntry(ctx, tx, h); err != nil {
					return err
				}
			}
		}
		return writeEntry(ctx, tx, e)
	})
	if err != nil {
		return d.auditRefusal(ctx, by, action, target, at, err)
	}
	// The change is committed, so the caller's ctx no longer matters; if reading fails, Run catches up.
	if err := d.sync(context.WithoutCancel(ctx)); err != nil {
		d.log.Warn("a change is saved but not yet in force", "action", action, "err", err)
	}
	return nil
}

const tenantColumns = `id, name, parent_id, status, daily_bytes, retention_days, at_limit, placement, keep_resends, limits, time_zone,
	slug, owner_email, plan_id, edition_id, subscription_id, region, second_factor, max_users, max_keys, query_tier,
	created_at, changed_at, deleted_at`

// tenantRow is a row of tenants.
type tenantRow struct {
	Tenant
	gone bool
}

func queryTenants(ctx context.Context, tx *store.Tx, where string, args ...any) ([]tenantRow, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+tenantColumns+` FROM tenants `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []tenantRow
	for rows.Next() {
		var r tenantRow
		var id, limits, zone string
		var parent sql.NullString
		var daily, users, keys, deleted sql.NullInt64
		var created, changed int64
		err := rows.Scan(&id, &r.Name, &parent, &r.Status, &daily, &r.RetentionDays, &r.AtLimit, &r.Partition,
			&r.KeepResends, &limits, &zone, &r.Slug, &r.Owner, &r.PlanID, &r.EditionID, &r.SubscriptionID, &r.Region, &r.SecondFactor,
			&users, &keys, &r.QueryTier, &created, &changed, &deleted)
		if err != nil {
			return nil, err
		}
		if r.ID, err = tenant.ParseID(id); err != nil {
			return nil, err
		}
		if parent.Valid {
			if r.Parent, err = tenant.ParseID(parent.String); err != nil {
				return nil, err
			}
		}
		r.DailyBytes, r.gone = nullable(daily), deleted.Valid
		r.MaxUsers, r.MaxKeys = nullable(users), nullable(keys)
		r.readLimits(limits, zone)
		r.CreatedAt, r.ChangedAt = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
		out = append(out, r)
	}
	return out, rows.Err()
}

const keyColumns = `id, tenant_id, mac, scopes, daily_bytes, created_at, expires_at, revoked_at, last_used_at, cors_origins, limits,
	name, owner_user, old_mac, old_until, old_used_at, rotated_at, client_certs`

// keyRow is a row of api_keys.
type keyRow struct {
	Key
	mac [sha256.Size]byte
	old *[sha256.Size]byte // of the secret before, nil for none
}

func queryKeys(ctx context.Context, tx *store.Tx, where string, args ...any) ([]keyRow, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+keyColumns+` FROM api_keys `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []keyRow
	for rows.Next() {
		var r keyRow
		var owner, scopes, origins, certs, limits string
		var mac, old []byte
		var created int64
		var daily, expires, revoked, used, oldUntil, oldUsed, rotated sql.NullInt64
		err := rows.Scan(&r.ID, &owner, &mac, &scopes, &daily, &created, &expires, &revoked, &used, &origins, &limits,
			&r.Name, &r.Owner, &old, &oldUntil, &oldUsed, &rotated, &certs)
		if err != nil {
			return nil, err
		}
		if r.Tenant, err = tenant.ParseID(owner); err != nil {
			return nil, err
		}
		if copy(r.mac[:], mac) != sha256.Size {
			return nil, fmt.Errorf("key %s: hash of %d bytes", r.ID, len(mac))
		}
		r.Scopes, r.DailyBytes = splitScopes(scopes), nullable(daily)
		if origins != "" {
			r.CORSOrigins = strings.Split(origins, " ")
		}
		if certs != "" {
			r.ClientCertificates = strings.Split(certs, " ")
		}
		if r.Bounds, err = parseBounds(limits, true); err != nil {
			r.unread = limits
		}
		r.CreatedAt, r.ExpiresAt = time.UnixMilli(created).UTC(), optionalTime(expires)
		r.RevokedAt, r.LastUsed = optionalTime(revoked), optionalTime(used)
		r.RotatedAt, r.OldUntil, r.OldLastUsed = optionalTime(rotated), optionalTime(oldUntil), optionalTime(oldUsed)
		if old != nil && oldUntil.Valid {
			if len(old) != sha256.Size {
				return nil, fmt.Errorf("key %s: older hash of %d bytes", r.ID, len(old))
			}
			r.old = (*[sha256.Size]byte)(old)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func nullable(n sql.NullInt64) *int64 {
	if !n.Valid {
		return nil
	}
	return &n.Int64
}

func optionalTime(ms sql.NullInt64) *time.Time {
	if !ms.Valid {
		return nil
	}
	t := time.UnixMilli(ms.Int64).UTC()
	return &t
}
