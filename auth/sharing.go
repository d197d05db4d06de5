package auth

import (
	"context"
	"slices"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Find returns the tenant of a name or id that by reaches, whatever by may do there; "" is where by acts. Errors: ErrNotFound,
// ErrInvalid for "" of an operator.
//
// SECURITY: tenants out of reach are not found, by the same error as those that do not exist.
func (d *Directory) Find(ctx context.Context, tx *store.Tx, by Principal, ref string) (Tenant, error) {
	if ref == "" {
		if by.IsOperator() {
			return Tenant{}, detail(ErrInvalid, "tenant: name one")
		}
		ref = by.Tenant().String()
	}
	return unsafeNamed(ctx, tx, ref, func(t Tenant) bool {
		_, reached := by.Permissions(t.ID)
		return reached
	})
}

// InTeam reports whether p is the session of a user in a team of that id, which is of that tenant.
func (p Principal) InTeam(t tenant.ID, team string) bool {
	g := p.grant()
	if g.user == "" || g.enrol {
		return false
	}
	g.directory.mu.RLock()
	defer g.directory.mu.RUnlock()
	at := g.directory.people.teams[team]
	return at != nil && at.Tenant == t && slices.Contains(g.directory.people.teamsOf[g.user], team)
}

// TeamIn returns the team of a tenant that has that id or name. Only who may look into the tenant is told.
func (d *Directory) TeamIn(t tenant.ID, ref string) (Team, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for id, team := range d.people.teams {
		if team.Tenant == t && (id == ref || team.Name == ref) {
			return *team, true
		}
	}
	return Team{}, false
}

// IsPresent reports whether a user is active and reaches a tenant at this moment.
func (d *Directory) IsPresent(user string, t tenant.ID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, reached := d.permissionsInLocked(user, t)
	return reached
}
