package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// seenWritten is how coarse the last use of a session is in the database, and so on other replicas. A session that is used on
// one replica alone ends on the others as much too early.
const seenWritten = 10 * time.Minute

// notUser answers what only users do to who is none.
var notUser = detail(ErrForbidden, "this is for users who have signed in")

// MustEnrol reports whether the principal is a user who must enrol a second factor first, and may do nothing else.
func (p Principal) MustEnrol() bool { return p.grant().enrol }

// CSRF returns what a browser sends beside its cookie, in a header, with requests that change something: pages of other origins
// cannot read it. It is "" for who has no session.
func (d *Directory) CSRF(p Principal) string {
	if p.grant().session == "" {
		return ""
	}
	key := d.DeriveKey("session csrf")
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(p.g.session))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// IsCSRF reports whether text is CSRF of the principal's session.
func (d *Directory) IsCSRF(p Principal, text string) bool {
	want := d.CSRF(p)
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(text)) == 1
}

// SessionInfo is a session as its user sees it.
type SessionInfo struct {
	ID        string
	Current   bool // the one that asks
	Acting    tenant.ID
	Address   string
	Agent     string
	CreatedAt time.Time
	ExpiresAt time.Time
	SeenAt    time.Time // to some minutes
}

// Sessions returns the live sessions of the user who asks, newest first, 100 at most.
func (d *Directory) Sessions(ctx context.Context, by Principal) (out []SessionInfo, err error) {
	if by.User() == "" {
		return nil, notUser
	}
	now := d.now()
	err = d.db.View(ctx, func(tx *store.Tx) error {
		out, err = collect(ctx, tx, `SELECT s.id, s.acting, s.address, s.agent, s.created_at, s.expires_at, s.seen_at FROM sessions s JOIN users u ON u.id = s.user_id
			WHERE u.id = ? AND u.tenant_id = ? AND s.generation = u.generation AND s.ended_at IS NULL AND s.expires_at > ? AND s.seen_at > ?
			ORDER BY s.id DESC LIMIT 100`, func(rows *sql.Rows) (s SessionInfo, err error) {
			var acting string
			var created, expires, seen int64
			if err = rows.Scan(&s.ID, &acting, &s.Address, &s.Agent, &created, &expires, &seen); err != nil {
				return s, err
			}
			s.Current, s.CreatedAt, s.ExpiresAt, s.SeenAt = s.ID == by.g.session, moment(created), moment(expires), moment(seen)
			s.Acting, err = tenant.ParseID(acting)
			return s, err
		}, by.User(), by.Home().String(), now.UnixMilli(), now.Add(-SessionIdle).UnixMilli())
		return err
	})
	return out, err
}

// SessionOf returns the session that asks.
func (d *Directory) SessionOf(by Principal) (SessionInfo, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.people.sessions[by.grant().session]
	if e == nil {
		return SessionInfo{}, notUser
	}
	return SessionInfo{ID: e.id, Current: true, Acting: e.acting, ExpiresAt: e.expires, SeenAt: moment(e.seen.Load())}, nil
}

// SignOut ends the session that asks.
func (d *Directory) SignOut(ctx context.Context, by Principal) error {
	return d.EndSession(ctx, by, by.grant().session)
}

// EndSession ends one of the sessions of the user who asks, within a second on all replicas. Errors: ErrForbidden for who is no
// user, ErrNotFound for others' sessions, those that have ended, and those that never were.
func (d *Directory) EndSession(ctx context.Context, by Principal, id string) error {
	return d.changeOwn(ctx, by, "session.end", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		n, err := affected(tx.ExecContext(ctx, `UPDATE sessions SET ended_at = ?, rev = ? WHERE id = ? AND user_id = ? AND ended_at IS NULL`,
			at.UnixMilli(), rev, plainText(id), u.ID))
		if err == nil && n == 0 {
			return detail(ErrNotFound, "no session %q", plainText(clip(id)))
		}
		return err
	})
}

// SignOutEverywhere ends all sessions of the user who asks, the one that asks too.
func (d *Directory) SignOutEverywhere(ctx context.Context, by Principal) error {
	return d.changeOwn(ctx, by, "session.end-all", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET ended_at = ?, rev = ? WHERE user_id = ? AND ended_at IS NULL`, at.UnixMilli(), rev, u.ID)
		return err
	})
}

// SwitchTenant makes the session that asks act in a tenant that its user reaches, by name or id; "" is home. It is audited in
// the home, in the tenant, and in the one that was acted in before. Errors: ErrForbidden for who is no user, ErrNotFound,
// ErrTenantInactive.
func (d *Directory) SwitchTenant(ctx context.Context, by Principal, ref string) (Tenant, error) {
	user, err := d.Account(by)
	if err != nil {
		return Tenant{}, err
	}
	var t Tenant
	err = d.change(ctx, by, "session.act", ref, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		home, from := by.Home(), by.Tenant()
		if ref == "" {
			ref = home.String()
		}
		var err error
		if t, err = resolve(ctx, tx, by, ref); err != nil {
			return Entry{}, err
		}
		if !d.tenantActive(t.ID) {
			return Entry{}, detail(ErrTenantInactive, "tenant %s: is disabled", t.Name)
		}
		n, err := affected(tx.ExecContext(ctx, `UPDATE sessions SET acting = ?, rev = ? WHERE id = ? AND user_id = ? AND ended_at IS NULL`,
			t.ID.String(), rev, by.g.session, by.User()))
		if err != nil {
			return Entry{}, err
		}
		if n != 1 {
			return Entry{}, ErrSignedOut
		}
		e := by.entry(at, "session.act")
		e.Tenant, e.Target = home, t.ID.String()
		e.Detail = jsonOf(map[string]string{"home": d.TenantName(home), "from": d.TenantName(from), "to": t.Name})
		// SECURITY: the home is told all; another tenant that somebody came to or went from, nothing of where else they act.
		for _, end := range []struct {
			name string
			id   tenant.ID
		}{{"from", from}, {"to", t.ID}} {
			if end.id == home || end.name == "from" && from == t.ID {
				continue
			}
			told := by.entry(at, "session.act")
			told.Tenant, told.Target = end.id, end.id.String()
			told.Detail = jsonOf(map[string]string{end.name: d.TenantName(end.id), "user": user.Email})
			if err := writeEntry(ctx, tx, told); err != nil {
				return Entry{}, err
			}
		}
		return e, nil
	})
	if err != nil {
		return Tenant{}, err
	}
	return t, nil
}

// changeOwn changes the user who asks, with the audit entry of it.
func (d *Directory) changeOwn(ctx context.Context, by Principal, action string, fn func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error) error {
	if by.User() == "" {
		return notUser
	}
	return d.change(ctx, by, action, by.User(), func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		rows, err := queryUsers(ctx, tx, `WHERE id = ? AND tenant_id = ? AND deleted_at IS NULL AND status = 'active'`, by.User(), by.Home().String())
		if err != nil {
			return Entry{}, err
		}
		if len(rows) == 0 {
			return Entry{}, ErrSignedOut
		}
		u := rows[0]
		err = fn(tx, &u, rev, at)
		return userEntry(&rows[0].User, &u.User), err
	})
}

// keepSession lets the session that asks live on when a new generation ends the user's others. strong is 1 or 0 for whether
// it has a second factor then, nil to leave it.
func keepSession(ctx context.Context, tx *store.Tx, by Principal, generation int64, strong any, rev int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE sessions SET generation = ?, second_factor = COALESCE(CAST(? AS BIGINT), second_factor), rev = ?
		WHERE id = ? AND user_id = ? AND ended_at IS NULL`, generation, strong, rev, by.g.session, by.User())
	return err
}

// flushSeen writes when sessions were last used, about every seenWritten, and forgets those that have expired.
func (d *Directory) flushSeen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	type use struct {
		e  *sessionEntry
		ms int64
	}
	var uses []use
	now := d.now()
	d.mu.Lock()
	for id, e := range d.people.sessions {
		if !now.Before(e.expires) {
			delete(d.people.sessions, id)
			continue
		}
		if ms := e.seen.Load(); ms-e.written.Load() >= seenWritten.Milliseconds() {
			uses = append(uses, use{e, ms})
		}
	}
	d.mu.Unlock()
	if len(uses) == 0 {
		return nil
	}
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		var rev int64 // the other replicas hear of it, or a session that is used here would end there
		if err := tx.QueryRowContext(ctx, `UPDATE changes SET n = n + 1 RETURNING n`).Scan(&rev); err != nil {
			return err
		}
		for _, u := range uses {
			_, err := tx.ExecContext(ctx, `UPDATE sessions SET seen_at = ?, rev = ? WHERE id = ? AND seen_at < ?`, u.ms, rev, u.e.id, u.ms)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write last uses of sessions: %w", err)
	}
	for _, u := range uses {
		u.e.written.Store(u.ms)
	}
	return nil
}
