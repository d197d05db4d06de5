package auth

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// AccessStatus is the state of an access request.
type AccessStatus string

// The states. pending → active → expired by itself, to the millisecond; pending → rejected; pending or active → revoked.
const (
	AccessPending  AccessStatus = "pending"
	AccessActive   AccessStatus = "active"
	AccessExpired  AccessStatus = "expired"
	AccessRejected AccessStatus = "rejected"
	AccessRevoked  AccessStatus = "revoked"
)

const (
	// MaxAccess is how far ahead access may end.
	MaxAccess = 90 * 24 * time.Hour

	maxPendingAccess = 100 // of a user
	maxNoteBytes     = 1000
)

// AccessPresets are the lengths of access that can be asked for by name. They count from the approval.
var AccessPresets = []AccessPreset{
	{"1h", time.Hour},
	{"8h", 8 * time.Hour},
	{"1d", 24 * time.Hour},
	{"7d", 7 * 24 * time.Hour},
	{"30d", 30 * 24 * time.Hour},
}

// AccessPreset is a length of access with a name.
type AccessPreset struct {
	Name string
	For  time.Duration
}

// AccessRequest asks for permissions in a tenant for a time, and gives them once it is approved.
type AccessRequest struct {
	ID          string
	User        string // who asks, and gets
	Email       string // of the user, when it was asked
	Tenant      tenant.ID
	TenantName  string
	Note        string
	Role        string // name of the role that the permissions were taken from, "" if they were chosen one by one
	Permissions permission.Set
	For         time.Duration // from the approval; 0 if Until
	Until       *time.Time
	Status      AccessStatus // as of when it was read
	RequestedAt time.Time
	ExpiresAt   *time.Time // when it ends or ended; nil before it is approved
	DecidedBy   string     // who acted last, as Entry.Actor; "" before anybody did
	Decider     string     // the email of that, if it was a user who is still there, else DecidedBy
	DecidedAt   *time.Time
}

// Access is the control of access requests: time-limited permissions in the requester's own tenant or one below it.
//
// One's own requests everybody sees, and those into a tenant whoever has access.approve there. All else is ErrNotFound, or
// ErrForbidden in a tenant that the caller reaches. Changes are in force on live sessions within a second; the end of access needs
// no change and is in force at once, everywhere.
type Access struct{ d *Directory }

// Access returns the control of access requests.
func (d *Directory) Access() *Access { return &Access{d} }

// Show returns one request. Errors: ErrNotFound, ErrForbidden.
func (s *Access) Show(ctx context.Context, by Principal, id string) (r AccessRequest, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		r, err = unsafeAccess(ctx, tx, by, id, s.d.now())
		return err
	})
	if err == nil && !r.of(by) { // one's own is no other tenant's
		err = s.d.auditVisit(ctx, by, r.Tenant, "access.show", r.ID)
	}
	if err != nil {
		return AccessRequest{}, err
	}
	s.d.nameAccess(&r)
	return r, nil
}

// nameAccess fills in the names that memory has. Whoever sees a request is told the tenant's name, also from above.
func (d *Directory) nameAccess(r *AccessRequest) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.tenants[r.Tenant]; t != nil {
		r.TenantName = t.Name
	}
	r.Decider = r.DecidedBy
	if id, ok := strings.CutPrefix(r.DecidedBy, "user:"); ok && d.people.users[id] != nil {
		r.Decider = d.people.users[id].Email
	}
}

// unsafeAccess returns the request of that id as it is at a moment.
//
// SECURITY: requests of others into tenants out of reach are not found, by the same error as ids that do not exist.
func unsafeAccess(ctx context.Context, tx *store.Tx, by Principal, id string, at time.Time) (AccessRequest, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return AccessRequest{}, err
	}
	rows, err := accessRows(ctx, tx, at, `WHERE id = ?`, plainText(id))
	if err != nil {
		return AccessRequest{}, err
	}
	if len(rows) == 0 || !rows[0].of(by) && !by.reaches(rows[0].Tenant) {
		return AccessRequest{}, detail(ErrNotFound, "no access request %q", clip(id))
	}
	if rows[0].of(by) {
		return rows[0], nil
	}
	return rows[0], by.Can(permission.AccessApprove, rows[0].Tenant)
}

// of reports whether it is by who asks.
func (r *AccessRequest) of(by Principal) bool { return by.User() != "" && r.User == by.User() }

func accessRows(ctx context.Context, tx *store.Tx, now time.Time, where string, args ...any) ([]AccessRequest, error) {
	return collect(ctx, tx, `SELECT id, user_id, user_email, tenant_id, note, role, permissions, seconds, until, status, requested_at, expires_at,
		decided_by, decided_at FROM access_requests `+where, func(rows *sql.Rows) (r AccessRequest, err error) {
		var owner, permissions string
		var seconds, requested int64
		var until, expires, decided sql.NullInt64
		err = rows.Scan(&r.ID, &r.User, &r.Email, &owner, &r.Note, &r.Role, &permissions, &seconds, &until, &r.Status, &requested, &expires,
			&r.DecidedBy, &decided)
		if err != nil {
			return r, err
		}
		r.Permissions, r.For, r.RequestedAt = storedPermissions(permissions), time.Duration(seconds)*time.Second, moment(requested)
		r.Until, r.ExpiresAt, r.DecidedAt = optionalTime(until), optionalTime(expires), optionalTime(decided)
		if r.Status == AccessActive && (r.ExpiresAt == nil || !now.Before(*r.ExpiresAt)) {
			r.Status = AccessExpired
		}
		r.Tenant, err = tenant.ParseID(owner)
		return r, err
	}, args...)
}

// storedPermissions reads what the database has.
//
// SECURITY: a permission of a later version is left out; it is never taken for one that this version has.
func storedPermissions(text string) (s permission.Set) {
	for _, name := range strings.Fields(text) {
		s |= permission.Of(permission.Permission(name))
	}
	return s
}

// accessEntry is what the audit tells of a request.
func accessEntry(r AccessRequest) Entry {
	show := map[string]any{
		"user": r.Email, "tenant": r.Tenant.String(), "permissions": r.Permissions.List(), "status": r.Status, "note": r.Note,
	}
	if r.Role != "" {
		show["role"] = r.Role
	}
	if r.ExpiresAt != nil {
		show["expires_at"] = r.ExpiresAt
	}
	return Entry{Tenant: r.Tenant, Target: r.ID, Detail: changeDetail("access", nil, show)}
}
