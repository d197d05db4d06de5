package auth

import (
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/tenant"
)

// UserStatus is the state of a user. Only active users sign in.
type UserStatus string

// The states. invited → active ⇄ inactive.
const (
	UserInvited  UserStatus = "invited"
	UserActive   UserStatus = "active"
	UserInactive UserStatus = "inactive"
)

// User is a person of one tenant, the home.
type User struct {
	ID           string
	Tenant       tenant.ID
	Email        string // as it was given; no two of a tenant differ in case alone
	Name         string
	Status       UserStatus
	Role         string // id of a custom role, or the name of a built-in one
	HasPassword  bool
	SecondFactor bool   // by TOTP
	Issuer       string // of the OpenID provider that vouches for the user, "" for none
	CreatedAt    time.Time
	ChangedAt    time.Time
	SignedInAt   *time.Time // nil is never
}

// Role is a custom role of a tenant.
type Role struct {
	ID          string
	Tenant      tenant.ID
	Name        string
	Permissions permission.Set
	CreatedAt   time.Time
	ChangedAt   time.Time
}

// Team is a named set of users of a tenant, who have its roles too.
type Team struct {
	ID        string
	Tenant    tenant.ID
	Name      string
	Members   []string // ids of users, sorted
	Roles     []string // as User.Role, sorted
	CreatedAt time.Time
	ChangedAt time.Time
}

// people is what memory knows of users, so that each request is judged by what holds now. The Directory's lock guards it.
type people struct {
	users    map[string]*userRow
	roles    map[string]*Role
	teams    map[string]*Team
	teamsOf  map[string][]string               // team ids of a user
	grants   map[string]map[tenant.ID]struct{} // tenants that a user reaches beside the home
	access   map[string][]access               // time-limited permissions of a user
	sessions map[string]*sessionEntry
	doors    map[tenant.ID]tenantDoor
}

// tenantDoor is what signing in to a tenant goes by.
type tenantDoor struct {
	slug   string
	factor string // policy of the second factor
}

// userRow is a live user in memory. generation is that of the sessions which hold.
type userRow struct {
	User
	generation int64
}

// access is an approved access request. It ends by itself.
type access struct {
	id          string
	tenant      tenant.ID
	permissions permission.Set
	until       time.Time
}

func newPeople() people {
	return people{users: map[string]*userRow{}, roles: map[string]*Role{}, teams: map[string]*Team{}, teamsOf: map[string][]string{},
		grants: map[string]map[tenant.ID]struct{}{}, access: map[string][]access{}, sessions: map[string]*sessionEntry{},
		doors: map[tenant.ID]tenantDoor{}}
}

// permissionsOfRole returns what a role of a tenant allows: nothing for one that there is not, or that is another tenant's.
func (p *people) permissionsOfRole(t tenant.ID, role string) permission.Set {
	if s, ok := permission.OfRole(role); ok {
		return s
	}
	if r := p.roles[role]; r != nil && r.Tenant == t {
		return r.Permissions
	}
	return 0
}

// permissionsOf is the union of a user's own role and those of the user's teams.
func (p *people) permissionsOf(u *User) permission.Set {
	s := p.permissionsOfRole(u.Tenant, u.Role)
	for _, id := range p.teamsOf[u.ID] {
		team := p.teams[id]
		if team == nil || team.Tenant != u.Tenant {
			continue
		}
		for _, role := range team.Roles {
			s |= p.permissionsOfRole(u.Tenant, role)
		}
	}
	return s
}

// permissionsInLocked returns what a user may do in a tenant now, and whether the user reaches it at all: the home, what was
// granted, every descendant of the home for whom has all permissions, and where a time-limited access holds.
func (d *Directory) permissionsInLocked(userID string, t tenant.ID) (s permission.Set, reached bool) {
	if u := d.people.users[userID]; u == nil || u.Status != UserActive || t.IsZero() {
		return 0, false
	}
	s, reached = d.standingInLocked(userID, t)
	now := d.now()
	for _, a := range d.people.access[userID] {
		if a.tenant == t && now.Before(a.until) {
			s, reached = s|a.permissions, true
		}
	}
	return s, reached
}

// standingInLocked is permissionsInLocked without time-limited access.
func (d *Directory) standingInLocked(userID string, t tenant.ID) (s permission.Set, reached bool) {
	u := d.people.users[userID]
	if u == nil || u.Status != UserActive || t.IsZero() {
		return 0, false
	}
	own := d.people.permissionsOf(&u.User)
	if _, granted := d.people.grants[userID][t]; granted || t == u.Tenant || own == permission.Everything && d.belowLocked(t, u.Tenant) {
		return own, true
	}
	return 0, false
}

// belowLocked reports whether t is a descendant of ancestor.
func (d *Directory) belowLocked(t, ancestor tenant.ID) bool {
	for depth := 0; depth < maxDepth; depth++ {
		at := d.tenants[t]
		if at == nil || at.Parent.IsZero() {
			return false
		}
		if t = at.Parent; t == ancestor {
			return true
		}
	}
	return false
}

// keyPermissions are what API keys of a scope may do in their tenant.
var keyPermissions = map[KeyScope]permission.Set{
	ScopeQuery: permission.Of(permission.QueriesRun, permission.DashboardsRead),
	ScopeUsage: permission.Of(permission.UsageRead),
	ScopeAdmin: adminKey,
}

var adminKey = func() permission.Set {
	s, _ := permission.OfRole(permission.Admin)
	return s &^ permission.Of(permission.QueriesRun, permission.DashboardsRead, permission.DashboardsWrite, permission.QueriesSave,
		permission.AccessRequest, permission.UsageRead)
}()

// operatorPermissions leave out what reads telemetry: operators have no key to it.
var operatorPermissions = permission.Everything &^ permission.Of(permission.QueriesRun, permission.QueriesSave,
	permission.DashboardsRead, permission.DashboardsWrite)

// Permissions returns what the principal may do in a tenant at this moment, and whether it reaches the tenant. Expired access
// and withdrawn grants count no more, on a Principal that was made before too.
func (p Principal) Permissions(t tenant.ID) (s permission.Set, reached bool) {
	g := p.grant()
	switch {
	case t.IsZero():
	case g.operator:
		return operatorPermissions, true
	case g.enrol:
	case g.user != "":
		g.directory.mu.RLock()
		defer g.directory.mu.RUnlock()
		return g.directory.permissionsInLocked(g.user, t)
	case g.keyID != "" && g.tenant == t:
		for _, scope := range g.scopes {
			s |= keyPermissions[scope]
		}
		return s, true
	}
	return 0, false
}

// Can returns nil if the principal may do it in the tenant, ErrNotFound if it does not reach the tenant, ErrForbidden if it does.
//
// SECURITY: the two answers are told apart only to who sees the tenant anyway.
func (p Principal) Can(what permission.Permission, t tenant.ID) error {
	if p.g == nil {
		return ErrNoCredential
	}
	s, reached := p.Permissions(t)
	switch {
	case !reached:
		return ErrNotFound
	case !s.Has(what):
		return ErrForbidden
	}
	return nil
}

// User returns the id of the user whose session the principal is, "" for others.
func (p Principal) User() string { return p.grant().user }

// Home returns the tenant that the principal belongs to: a user's home also while the user acts in another.
func (p Principal) Home() tenant.ID {
	if g := p.grant(); g.user != "" {
		return g.home
	}
	return p.grant().tenant
}

// Reach returns the tenants that the principal reaches, in no order; false means all of them.
func (p Principal) Reach() (ids []tenant.ID, limited bool) {
	g := p.grant()
	switch {
	case g.operator:
		return nil, false
	case g.enrol:
		return nil, true
	case g.user == "":
		if g.tenant.IsZero() {
			return nil, true
		}
		return []tenant.ID{g.tenant}, true
	}
	d := g.directory
	d.mu.RLock()
	defer d.mu.RUnlock()
	u := d.people.users[g.user]
	if u == nil || u.Status != UserActive {
		return nil, true
	}
	ids = append(ids, u.Tenant)
	for id := range d.people.grants[g.user] {
		ids = append(ids, id)
	}
	now := d.now()
	for _, a := range d.people.access[g.user] {
		if now.Before(a.until) {
			ids = append(ids, a.tenant)
		}
	}
	if d.people.permissionsOf(&u.User) == permission.Everything {
		for id := range d.tenants {
			if d.belowLocked(id, u.Tenant) {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, func(a, b tenant.ID) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(ids), true
}
