package saved

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Kind is what is kept. The texts are stored.
type Kind string

// The kinds.
const (
	Query     Kind = "query"
	Dashboard Kind = "dashboard"
)

// noun is what people call a thing of the kind.
func (k Kind) noun() string {
	if k == Query {
		return "saved query"
	}
	return "dashboard"
}

// action names what is done to a thing in the audit.
func (k Kind) action(verb string) string {
	if k == Query {
		return "saved-query." + verb
	}
	return "dashboard." + verb
}

// saves is the permission that making and changing takes.
func (k Kind) saves() permission.Permission {
	if k == Query {
		return permission.QueriesSave
	}
	return permission.DashboardsWrite
}

// most is how many a tenant may have.
func (k Kind) most() int {
	if k == Query {
		return maxQueries
	}
	return maxDashboards
}

// Sharing is who sees a thing beside its owner. The texts are stored and shown.
type Sharing string

// The kinds of sharing.
const (
	Private    Sharing = "private"
	WithTeam   Sharing = "team"
	WithTenant Sharing = "tenant"
)

// Thing is a saved query or a dashboard.
type Thing struct {
	ID          string
	Tenant      tenant.ID
	Kind        Kind
	Name        string
	Description string
	Owner       string // id of a user
	Sharing     Sharing
	Team        string // id, with WithTeam
	Definition         // empty in lists
	CreatedAt   time.Time
	ChangedAt   time.Time
}

// isSeenBy reports whether by sees t, as far as that is not a matter of permissions.
//
// SECURITY: what nobody shared is nobody's but its owner's, as long as the owner is there.
func (s *Service) isSeenBy(t *Thing, by auth.Principal) bool {
	may, reached := by.Permissions(t.Tenant)
	switch {
	case !reached:
		return false
	case t.isOwnedBy(by), t.Sharing == WithTenant, t.Sharing == WithTeam && by.InTeam(t.Tenant, t.Team):
		return true
	}
	return may.Has(permission.UsersManage) && (t.Sharing == WithTeam || !s.directory.IsPresent(t.Owner, t.Tenant))
}

// isOwnedBy reports whether t is by's own.
func (t *Thing) isOwnedBy(by auth.Principal) bool { return by.User() != "" && by.User() == t.Owner }

// mayChange returns nil if by, who sees t, may change it.
func (s *Service) mayChange(t *Thing, by auth.Principal) error {
	if err := by.Can(t.Kind.saves(), t.Tenant); err != nil {
		return err
	}
	if !t.isOwnedBy(by) && by.Can(permission.UsersManage, t.Tenant) != nil {
		return &auth.Error{Code: auth.ErrForbidden.Code, Text: "only its owner changes it: clone it, and change the copy"}
	}
	return nil
}

// unsafeFind returns the thing of an id that by may look at.
//
// SECURITY: it looks by the id alone. Things of tenants out of reach, and those that by does not see, are not found, by the same
// error as ids that do not exist.
func (s *Service) unsafeFind(ctx context.Context, tx *store.Tx, by auth.Principal, k Kind, id string) (Thing, error) {
	if by.Tenant().IsZero() && !by.IsOperator() {
		return Thing{}, auth.ErrNoCredential
	}
	if _, err := ulid.ParseStrict(id); err != nil {
		return Thing{}, errMissing(k.noun(), id)
	}
	row := tx.QueryRowContext(ctx, `SELECT `+columns+`, definition FROM saved WHERE id = ? AND kind = ?`, id, string(k))
	var definition string
	t, err := scan(row.Scan, &definition)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !s.isSeenBy(&t, by) {
		return Thing{}, errMissing(k.noun(), id)
	}
	if err != nil {
		return Thing{}, err
	}
	if err := json.Unmarshal([]byte(definition), &t.Definition); err != nil {
		return Thing{}, fmt.Errorf("definition of %s %s: %w", k, id, err)
	}
	return t, by.Can(permission.DashboardsRead, t.Tenant)
}

const columns = `id, tenant_id, kind, name, description, owner_user, sharing, team_id, created_at, changed_at`

func scan(from func(...any) error, more ...any) (t Thing, err error) {
	var owner string
	var created, changed int64
	err = from(append([]any{&t.ID, &owner, &t.Kind, &t.Name, &t.Description, &t.Owner, &t.Sharing, &t.Team, &created, &changed}, more...)...)
	if err != nil {
		return t, err
	}
	t.CreatedAt, t.ChangedAt = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
	t.Tenant, err = tenant.ParseID(owner)
	return t, err
}

// quote bounds text of a caller that an error repeats.
func quote(s string) string { return fmt.Sprintf("%.128q", s) }
