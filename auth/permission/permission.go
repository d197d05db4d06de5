// Package permission names what principals may do.
//
// Permissions are texts of the form area.verb in the API and in the database; in memory a Set is a word of bits. What somebody
// may do is decided by permissions, never by a role's name. All types are values and safe for concurrent use.
package permission

import (
	"fmt"
	"math/bits"
	"strings"
)

// Permission is one thing that may be done. The texts are stored and shown, and never renamed.
type Permission string

// The permissions.
const (
	DashboardsRead  Permission = "dashboards.read"
	DashboardsWrite Permission = "dashboards.write"
	QueriesRun      Permission = "queries.run"
	QueriesSave     Permission = "queries.save"
	UsageRead       Permission = "usage.read"
	UsersRead       Permission = "users.read"
	UsersManage     Permission = "users.manage"
	TeamsManage     Permission = "teams.manage"
	RolesManage     Permission = "roles.manage"
	KeysManage      Permission = "keys.manage"
	TenantsRead     Permission = "tenants.read"
	TenantsCreate   Permission = "tenants.create"
	TenantsUpdate   Permission = "tenants.update"
	TenantsDelete   Permission = "tenants.delete"
	LimitsManage    Permission = "limits.manage"
	SecurityManage  Permission = "security.manage"
	AuditRead       Permission = "audit.read"
	AccessRequest   Permission = "access.request"
	AccessApprove   Permission = "access.approve"
)

// All are the permissions in the order of the documentation, with what each allows. Bits of a Set are positions in it, and
// live in memory alone.
var All = []struct {
	Permission Permission
	Allows     string
}{
	{DashboardsRead, "see dashboards and saved queries that are shared"},
	{DashboardsWrite, "make, change and share dashboards"},
	{QueriesRun, "run queries on the tenant's telemetry"},
	{QueriesSave, "save queries, and clone shared ones"},
	{UsageRead, "read usage, limits, alerts and refusals"},
	{UsersRead, "see the tenant's users and teams"},
	{UsersManage, "invite, change, deactivate and remove users"},
	{TeamsManage, "make and change teams and their members"},
	{RolesManage, "make and change custom roles, and give roles to users and teams"},
	{KeysManage, "make, rotate and revoke API keys"},
	{TenantsRead, "see the tenant's settings and its place in the tree"},
	{TenantsCreate, "make tenants below"},
	{TenantsUpdate, "change settings, disable and enable"},
	{TenantsDelete, "export and delete tenants with all their data"},
	{LimitsManage, "set limits and plans of tenants below"},
	{SecurityManage, "set second factors, email domains and webhooks"},
	{AuditRead, "read and export the audit"},
	{AccessRequest, "ask for time-limited access to a tenant"},
	{AccessApprove, "approve, reject and revoke access requests"},
}

// Set is a set of permissions. The zero Set allows nothing.
type Set uint32

// Everything is all permissions.
var Everything = Set(1)<<len(All) - 1

func bit(p Permission) Set {
	for i := range All {
		if All[i].Permission == p {
			return 1 << i
		}
	}
	return 0
}

// Of returns the set of the given permissions; those that there are not are left out.
func Of(ps ...Permission) (s Set) {
	for _, p := range ps {
		s |= bit(p)
	}
	return s
}

// Parse reads permissions separated by blanks, as String writes them. An unknown one is an error that names it.
func Parse(text string) (Set, error) { return ParseList(strings.Fields(text)) }

// ParseList is Parse for a list.
func ParseList(names []string) (s Set, err error) {
	for _, name := range names {
		b := bit(Permission(name))
		if b == 0 {
			return 0, fmt.Errorf("there is no permission %.40q", name)
		}
		s |= b
	}
	return s, nil
}

// List returns the permissions in order.
func (s Set) List() []string {
	out := make([]string, 0, bits.OnesCount32(uint32(s)))
	for i := range All {
		if s&(1<<i) != 0 {
			out = append(out, string(All[i].Permission))
		}
	}
	return out
}

// String returns the permissions separated by blanks.
func (s Set) String() string { return strings.Join(s.List(), " ") }

// Has reports whether p is in the set.
func (s Set) Has(p Permission) bool { return s&bit(p) != 0 }

// Covers reports whether all of o is in the set: nobody gives what they do not have.
func (s Set) Covers(o Set) bool { return o&^s == 0 }

// Len returns how many there are.
func (s Set) Len() int { return bits.OnesCount32(uint32(s)) }

// Names of the built-in roles, which every tenant has.
const (
	Viewer    = "viewer"
	Editor    = "editor"
	Admin     = "admin"
	RootAdmin = "root-admin" // reaches all descendants without grants
	NoAccess  = "no-access"  // for those who exist as owners of service keys only
)

// Builtin are the built-in roles, each beyond the one before.
var Builtin = []struct {
	Name        string
	Permissions Set
}{
	{NoAccess, 0},
	{Viewer, viewer},
	{Editor, editor},
	{Admin, admin},
	{RootAdmin, Everything},
}

var (
	viewer = Of(DashboardsRead, QueriesRun, AccessRequest)
	editor = viewer | Of(DashboardsWrite, QueriesSave)
	admin  = editor | Of(UsageRead, UsersRead, UsersManage, TeamsManage, RolesManage, KeysManage, TenantsRead, TenantsUpdate,
		SecurityManage, AuditRead, AccessApprove)
)

// OfRole returns the permissions of a built-in role.
func OfRole(name string) (Set, bool) {
	for _, r := range Builtin {
		if r.Name == name {
			return r.Permissions, true
		}
	}
	return 0, false
}
