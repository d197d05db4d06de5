package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync/atomic"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

const (
	// SessionIdle and SessionLife are when a session ends by itself: unused, and in any case.
	SessionIdle = 12 * time.Hour
	SessionLife = 14 * 24 * time.Hour

	sessionPrefix = "hgs"
	// seenInterval is how coarse the last use of a session is kept.
	seenInterval = time.Minute
)

// What a session can be refused for.
var (
	ErrSignedOut = &Error{"session-ended", "the session has ended: sign in again"}
)

// sessionEntry is a live session in memory.
type sessionEntry struct {
	id         string
	user       string
	mac        [sha256.Size]byte
	generation int64
	acting     tenant.ID
	expires    time.Time
	strong     bool         // it began with a second factor
	seen       atomic.Int64 // unix milliseconds of the last use, to about a minute
	written    atomic.Int64 // of it, what is in the database
}

// Session returns the principal of a session's token, or ErrNoCredential, ErrSignedOut or ErrTenantInactive. It reads memory
// only, and is asked anew for each request, so a session that ends elsewhere ends here within a second.
func (d *Directory) Session(token string) (Principal, error) {
	g, err := d.checkSession(token)
	if err != nil {
		return Principal{}, err
	}
	return Principal{g}, nil
}

func (d *Directory) checkSession(token string) (*grant, *Error) {
	if token == "" {
		return nil, ErrNoCredential
	}
	id, secret, ok := parseSession(token)
	if !ok {
		return nil, ErrSignedOut
	}
	got, now := d.mac(id, secret), d.now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := d.people.sessions[id]
	var want [sha256.Size]byte
	if e != nil {
		want = e.mac
	}
	// SECURITY: unknown ids go through the same comparison.
	if same := subtle.ConstantTimeCompare(got[:], want[:]) == 1; e == nil || !same {
		return nil, ErrSignedOut
	}
	u := d.people.users[e.user]
	if u == nil || u.Status != UserActive || u.generation != e.generation || !now.Before(e.expires) || now.Sub(time.UnixMilli(e.seen.Load())) >= SessionIdle {
		return nil, ErrSignedOut
	}
	for _, id := range []tenant.ID{u.Tenant, e.acting} {
		if !d.activeLocked(id) {
			return nil, ErrTenantInactive
		}
	}
	// SECURITY: who acts in another tenant does so only as long as the user reaches it.
	may, reached := d.permissionsInLocked(e.user, e.acting)
	if !reached {
		return nil, ErrSignedOut
	}
	// SECURITY: the second factor is asked for by what the tenant says now, so that a stricter rule reaches live sessions too.
	enrol := !e.strong && mustHaveFactor(d.people.doors[u.Tenant].factor, d.people.permissionsOf(&u.User))
	if enrol && u.SecondFactor {
		return nil, ErrSignedOut // and sign in with it
	}
	if ms := now.UnixMilli(); ms-e.seen.Load() > seenInterval.Milliseconds() {
		e.seen.Store(ms)
	}
	t := d.tenants[e.acting]
	if enrol {
		return &grant{directory: d, user: e.user, session: e.id, home: u.Tenant, tenant: t.ID, name: t.Name, enrol: true}, nil
	}
	return &grant{directory: d, user: e.user, session: e.id, home: u.Tenant, tenant: t.ID, name: t.Name, scopes: scopesOf(may)}, nil
}

// scopesOf returns the scopes of keys that open the same doors as permissions; what is done behind them, Can decides.
func scopesOf(may permission.Set) (out []KeyScope) {
	if may.Has(permission.QueriesRun) {
		out = append(out, ScopeQuery)
	}
	if may.Has(permission.UsageRead) {
		out = append(out, ScopeUsage)
	}
	return append(out, ScopeAdmin)
}

// activeLocked reports whether a tenant and all its ancestors are active.
func (d *Directory) activeLocked(id tenant.ID) bool {
	for depth := 0; depth < maxDepth; depth++ {
		t := d.tenants[id]
		if t == nil || t.Status != Active {
			return false
		}
		if t.Parent.IsZero() {
			return true
		}
		id = t.Parent
	}
	return false
}

// sessionText and parseSession are the form of a session's token: hgs_<id>_<secret>.
func sessionText(id, secret string) string { return sessionPrefix + "_" + id + "_" + secret }

func parseSession(token string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, sessionPrefix+"_")
	if !ok || len(token) > 200 {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	return id, secret, ok && id != "" && secret != ""
}

// beginSession makes a session of a user within tx, and returns its token. The caller has checked who the user is.
func (d *Directory) beginSession(ctx context.Context, tx *store.Tx, u *userRow, acting tenant.ID, address, agent string, rev int64, at time.Time) (token string, err error) {
	id, secret := newID(at), newSecret()
	mac := d.mac(id, secret)
	_, err = tx.ExecContext(ctx, `INSERT INTO sessions (id, user_id, mac, generation, acting, address, agent, created_at, expires_at, seen_at, rev)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, u.ID, mac[:], u.generation, acting.String(), plainText(clip(address)), plainText(clip(agent)),
		at.UnixMilli(), at.Add(SessionLife).UnixMilli(), at.UnixMilli(), rev)
	return sessionText(id, secret), err
}
