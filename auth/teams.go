package auth

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// maxTeams and maxTeamRoles bound the teams of a tenant and the roles of a team.
const (
	maxTeams     = 1000
	maxTeamRoles = 20
)

// Teams is the control of teams. Looking at them needs users.read, changing them teams.manage, giving them roles roles.manage too.
// Members have their teams' roles, so whoever adds or removes one has all permissions of the team, and nobody gives or takes
// what they do not have. A change is in force on live sessions within a second.
type Teams struct{ d *Directory }

// Teams returns the control of teams.
func (d *Directory) Teams() *Teams { return &Teams{d} }

// NewTeam is what Create needs. Only Name is required.
type NewTeam struct {
	Tenant string   // name or id; "" is where the caller acts
	Name   string   // unique within the tenant, in any case
	Roles  []string // names or ids
}

// TeamPatch is a partial update: nil fields stay.
type TeamPatch struct {
	Name  *string
	Roles *[]string // all of them: those that are left out are taken away
}

// Create makes a team without members. Errors: ErrNotFound for the tenant or a role, ErrForbidden, ErrInvalid, ErrNameTaken, ErrState
// for a tenant that is being deleted or has maxTeams.
func (s *Teams) Create(ctx context.Context, by Principal, n NewTeam) (Team, error) {
	var out Team
	err := s.d.change(ctx, by, "team.create", n.Name, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := changeable(ctx, tx, by, n.Tenant, permission.TeamsManage)
		if err != nil {
			return Entry{}, err
		}
		out = Team{ID: newID(at), Tenant: t.ID, CreatedAt: at, ChangedAt: at}
		if out.Name, err = normalLabel("team", n.Name); err != nil {
			return Entry{}, err
		}
		if err := checkCount(ctx, tx, `SELECT count(*) FROM teams WHERE tenant_id = ? AND deleted_at IS NULL`, t.ID, maxTeams, "teams"); err != nil {
			return Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO teams (id, tenant_id, name, created_at, changed_at, rev) VALUES (?, ?, ?, ?, ?, ?)`,
			out.ID, t.ID.String(), out.Name, at.UnixMilli(), at.UnixMilli(), rev)
		if err != nil {
			return Entry{}, labelTaken(err, "team", out.Name)
		}
		if len(n.Roles) > 0 {
			if err := out.setRoles(ctx, tx, by, n.Roles); err != nil {
				return Entry{}, err
			}
		}
		return teamEntry(nil, &out), nil
	})
	if err != nil {
		return Team{}, err
	}
	return out, nil
}

// Set changes a team and returns it as it is then. Errors: ErrNotFound for the team or a role, ErrForbidden, ErrInvalid, ErrNameTaken,
// ErrLastAdmin.
func (s *Teams) Set(ctx context.Context, by Principal, id string, p TeamPatch) (Team, error) {
	return s.modify(ctx, by, "team.set", id, func(tx *store.Tx, t *Team) error {
		if p.Name != nil {
			name, err := normalLabel("team", *p.Name)
			if err != nil {
				return err
			}
			t.Name = name
		}
		if p.Roles == nil {
			return nil
		}
		given, err := t.permissions(ctx, tx)
		if err != nil {
			return err
		}
		return keepingManager(ctx, tx, t.Tenant, given, func() error { return t.setRoles(ctx, tx, by, *p.Roles) })
	})
}

// AddMember puts a user of the team's tenant into it; once more is fine. Errors: ErrNotFound for the team and for users of all other
// tenants, ErrForbidden.
func (s *Teams) AddMember(ctx context.Context, by Principal, id, user string) (Team, error) {
	return s.modify(ctx, by, "team.member.add", id, func(tx *store.Tx, t *Team) error {
		if _, err := t.covered(ctx, tx, by); err != nil {
			return err
		}
		found, err := queryUsers(ctx, tx, `WHERE tenant_id = ? AND id = ? AND deleted_at IS NULL`, t.Tenant.String(), plainText(user))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return detail(ErrNotFound, "no user %q", clip(user))
		}
		if at, there := slices.BinarySearch(t.Members, user); !there {
			t.Members = slices.Insert(t.Members, at, user)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO team_members (team_id, user_id) VALUES (?, ?) ON CONFLICT (team_id, user_id) DO NOTHING`, t.ID, user)
		return err
	})
}

// RemoveMember takes a user out of a team. Errors: ErrNotFound also for who is not a member, ErrForbidden, ErrLastAdmin.
func (s *Teams) RemoveMember(ctx context.Context, by Principal, id, user string) (Team, error) {
	return s.modify(ctx, by, "team.member.remove", id, func(tx *store.Tx, t *Team) error {
		given, err := t.covered(ctx, tx, by)
		if err != nil {
			return err
		}
		at, there := slices.BinarySearch(t.Members, user)
		if !there {
			return detail(ErrNotFound, "no member %q", clip(user))
		}
		t.Members = slices.Delete(t.Members, at, at+1)
		return keepingManager(ctx, tx, t.Tenant, given, func() error {
			_, err := tx.ExecContext(ctx, `DELETE FROM team_members WHERE team_id = ? AND user_id = ?`, t.ID, user)
			return err
		})
	})
}

// Delete removes a team; its members lose its roles. Errors: ErrNotFound, ErrForbidden, ErrLastAdmin.
func (s *Teams) Delete(ctx context.Context, by Principal, id string) error {
	return s.d.change(ctx, by, "team.delete", id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := unsafeTeam(ctx, tx, by, id, permission.TeamsManage)
		if err != nil {
			return Entry{}, err
		}
		given, err := t.covered(ctx, tx, by)
		if err != nil {
			return Entry{}, err
		}
		return teamEntry(&t, nil), keepingManager(ctx, tx, t.Tenant, given, func() error {
			for _, q := range []string{`DELETE FROM team_members WHERE team_id = ?`, `DELETE FROM team_roles WHERE team_id = ?`} {
				if _, err := tx.ExecContext(ctx, q, t.ID); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, `UPDATE teams SET deleted_at = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
				at.UnixMilli(), at.UnixMilli(), rev, t.ID, t.Tenant.String())
			return err
		})
	})
}

// modify loads a team that by may change, lets fn change it and what belongs to it, and stores it, all in one transaction.
func (s *Teams) modify(ctx context.Context, by Principal, action, id string, fn func(tx *store.Tx, t *Team) error) (Team, error) {
	var t Team
	err := s.d.change(ctx, by, action, id, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if t, err = unsafeTeam(ctx, tx, by, id, permission.TeamsManage); err != nil {
			return Entry{}, err
		}
		before := t
		before.Members = slices.Clone(t.Members)
		if err := fn(tx, &t); err != nil {
			return Entry{}, err
		}
		t.ChangedAt = at
		_, err = tx.ExecContext(ctx, `UPDATE teams SET name = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
			t.Name, at.UnixMilli(), rev, t.ID, t.Tenant.String())
		return teamEntry(&before, &t), labelTaken(err, "team", t.Name)
	})
	if err != nil {
		return Team{}, err
	}
	return t, nil
}

// setRoles gives the team these roles instead of those it has.
//
// SECURITY: by has all permissions of both: members get the ones and lose the others.
func (t *Team) setRoles(ctx context.Context, tx *store.Tx, by Principal, refs []string) error {
	if err := by.Can(permission.RolesManage, t.Tenant); err != nil {
		return err
	}
	if len(refs) > maxTeamRoles {
		return detail(ErrInvalid, "team: %d roles, want at most %d", len(refs), maxTeamRoles)
	}
	if _, err := t.covered(ctx, tx, by); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM team_roles WHERE team_id = ?`, t.ID); err != nil {
		return err
	}
	t.Roles = nil
	for _, ref := range refs {
		r, err := roleIn(ctx, tx, t.Tenant, ref)
		if err != nil {
			return err
		}
		if err := by.coversStanding(t.Tenant, r.Permissions); err != nil {
			return err
		}
		t.Roles = append(t.Roles, r.ID)
	}
	slices.Sort(t.Roles)
	t.Roles = slices.Compact(t.Roles)
	for _, role := range t.Roles {
		if _, err := tx.ExecContext(ctx, `INSERT INTO team_roles (team_id, role) VALUES (?, ?)`, t.ID, role); err != nil {
			return err
		}
	}
	return nil
}

// permissions are those that the team gives its members.
func (t *Team) permissions(ctx context.Context, tx *store.Tx) (all permission.Set, err error) {
	for _, id := range t.Roles {
		r, err := roleIn(ctx, tx, t.Tenant, id)
		if err != nil {
			return 0, err
		}
		all |= r.Permissions
	}
	return all, nil
}

// covered is permissions, of which by has all; else the error says what is missing.
func (t *Team) covered(ctx context.Context, tx *store.Tx, by Principal) (permission.Set, error) {
	given, err := t.permissions(ctx, tx)
	if err != nil {
		return 0, err
	}
	return given, by.coversStanding(t.Tenant, given)
}

// unsafeTeam returns the team of that id, in whose tenant by may do what.
//
// SECURITY: teams of tenants out of reach are not found, by the same error as ids that do not exist.
func unsafeTeam(ctx context.Context, tx *store.Tx, by Principal, id string, what permission.Permission) (Team, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return Team{}, err
	}
	// SECURITY: of a team that is out of reach no more is read than of one that there is not.
	var home string
	err := tx.QueryRowContext(ctx, `SELECT tenant_id FROM teams WHERE id = ? AND deleted_at IS NULL`, plainText(id)).Scan(&home)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Team{}, err
	}
	t, _ := tenant.ParseID(home)
	if err != nil || !by.reaches(t) {
		return Team{}, detail(ErrNotFound, "no team %q", clip(id))
	}
	if err := by.Can(what, t); err != nil {
		return Team{}, err
	}
	rows, err := queryTeams(ctx, tx, `WHERE id = ? AND tenant_id = ? AND deleted_at IS NULL`, id, t.String())
	if err != nil || len(rows) == 0 {
		return Team{}, cmp.Or(err, error(ErrNotFound))
	}
	return rows[0].Team, nil
}

// teamEntry is what the audit tells of a change of a team: of its members, those who came or went.
func teamEntry(before, after *Team) Entry {
	t := cmp.Or(after, before)
	show := func(t, other *Team) any {
		if t == nil {
			return nil
		}
		out := map[string]any{"name": t.Name, "roles": append([]string{}, t.Roles...)}
		if other != nil {
			moved := slices.DeleteFunc(slices.Clone(t.Members), func(id string) bool { return slices.Contains(other.Members, id) })
			if len(moved) > 0 {
				out["members"] = moved
			}
		}
		return out
	}
	return Entry{Tenant: t.Tenant, Target: t.ID, Detail: changeDetail("team", show(before, after), show(after, before))}
}
