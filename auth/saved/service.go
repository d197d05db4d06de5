package saved

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Service is the control of saved things. Looking at them needs dashboards.read, running them queries.run too; making and changing them
// queries.save for queries and dashboards.write for dashboards.
type Service struct {
	directory *auth.Directory
	db        *store.DB
	languages Languages
}

// New makes the control of what is kept in db, beside the directory's.
func New(d *auth.Directory, db *store.DB, l Languages) *Service { return &Service{d, db, l} }

// NewThing is what Create needs. Kind, Name and Definition are required.
type NewThing struct {
	Kind        Kind
	Tenant      string // name or id; "" is where the caller acts
	Name        string // things may share one
	Description string
	Sharing     Sharing // "" is Private
	Team        string  // id or name, with WithTeam
	Definition  Definition
}

// Patch is a partial change: nil fields stay.
type Patch struct {
	Name, Description *string
	Sharing           *Sharing
	Team              *string
	Owner             *string           // id of a user who reaches the tenant
	Change            func(*Definition) // changes the definition in place; not nil
}

// Create keeps a thing, whose owner is the caller. Errors: auth.ErrNotFound for the tenant or team, auth.ErrForbidden, auth.ErrInvalid,
// auth.ErrState for a tenant that is being deleted or has as many as it may, those of Languages.
func (s *Service) Create(ctx context.Context, by auth.Principal, n NewThing) (Thing, error) {
	t := Thing{Kind: n.Kind, Owner: by.User()}
	err := s.directory.Act(ctx, by, n.Kind.action("create"), n.Name, func(tx *store.Tx, at time.Time) (auth.Entry, error) {
		into, err := s.directory.Find(ctx, tx, by, n.Tenant)
		if err != nil {
			return auth.Entry{}, err
		}
		t.Tenant = into.ID
		if err := s.mayAdd(ctx, tx, by, n.Kind, into); err != nil {
			return auth.Entry{}, err
		}
		t.Definition = n.Definition
		p := Patch{Name: &n.Name, Description: &n.Description, Sharing: &n.Sharing, Team: &n.Team, Change: func(*Definition) {}}
		if err := s.apply(&t, p); err != nil {
			return auth.Entry{}, err
		}
		return entryOf(nil, &t), t.insert(ctx, tx, at)
	})
	if err != nil {
		return Thing{}, err
	}
	return t, nil
}

// Clone makes a private copy of a thing in its tenant, whose owner is the caller; name "" is that of the original. Errors:
// auth.ErrNotFound, auth.ErrForbidden, auth.ErrInvalid, auth.ErrState.
func (s *Service) Clone(ctx context.Context, by auth.Principal, k Kind, id, name string) (Thing, error) {
	var t Thing
	err := s.directory.Act(ctx, by, k.action("clone"), id, func(tx *store.Tx, at time.Time) (auth.Entry, error) {
		from, err := s.unsafeFind(ctx, tx, by, k, id)
		if err != nil {
			return auth.Entry{}, err
		}
		into, err := s.directory.Find(ctx, tx, by, from.Tenant.String())
		if err != nil {
			return auth.Entry{}, err
		}
		if err := s.mayAdd(ctx, tx, by, k, into); err != nil {
			return auth.Entry{}, err
		}
		t = from
		t.Owner, t.Sharing, t.Team = by.User(), Private, ""
		if name != "" {
			if err := checkName("name", name); err != nil {
				return auth.Entry{}, err
			}
			t.Name = name
		}
		if err := t.insert(ctx, tx, at); err != nil {
			return auth.Entry{}, err
		}
		e := entryOf(nil, &t)
		e.Detail = detailOf(map[string]any{"from": from.ID, "saved": t.told()})
		return e, nil
	})
	if err != nil {
		return Thing{}, err
	}
	return t, nil
}

// Set changes a thing and returns it as it is then. It takes its owner, or users.manage beside the permission for changing. Errors:
// auth.ErrNotFound for the thing, the team or the new owner, auth.ErrForbidden, auth.ErrInvalid, those of Languages.
func (s *Service) Set(ctx context.Context, by auth.Principal, k Kind, id string, p Patch) (Thing, error) {
	var t Thing
	err := s.directory.Act(ctx, by, k.action("set"), id, func(tx *store.Tx, at time.Time) (auth.Entry, error) {
		before, err := s.unsafeFind(ctx, tx, by, k, id)
		if err != nil {
			return auth.Entry{}, err
		}
		if err := s.mayChange(&before, by); err != nil {
			return auth.Entry{}, err
		}
		t = before
		t.Definition = copyOf(before.Definition)
		if err := s.apply(&t, p); err != nil {
			return auth.Entry{}, err
		}
		t.ChangedAt = at
		_, err = tx.ExecContext(ctx, `UPDATE saved SET name = ?, description = ?, owner_user = ?, sharing = ?, team_id = ?, definition = ?, changed_at = ?
			WHERE id = ? AND tenant_id = ?`, t.Name, t.Description, t.Owner, string(t.Sharing), t.Team, string(t.text()), at.UnixMilli(), t.ID, t.Tenant.String())
		return entryOf(&before, &t), err
	})
	if err != nil {
		return Thing{}, err
	}
	return t, nil
}

// Delete removes a thing. It takes what Set takes. Errors: auth.ErrNotFound, auth.ErrForbidden.
func (s *Service) Delete(ctx context.Context, by auth.Principal, k Kind, id string) error {
	return s.directory.Act(ctx, by, k.action("delete"), id, func(tx *store.Tx, _ time.Time) (auth.Entry, error) {
		t, err := s.unsafeFind(ctx, tx, by, k, id)
		if err != nil {
			return auth.Entry{}, err
		}
		if err := s.mayChange(&t, by); err != nil {
			return auth.Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM saved WHERE id = ? AND tenant_id = ?`, t.ID, t.Tenant.String())
		return entryOf(&t, nil), err
	})
}

// mayAdd returns nil if by may keep one thing more in the tenant.
func (s *Service) mayAdd(ctx context.Context, tx *store.Tx, by auth.Principal, k Kind, into auth.Tenant) error {
	if err := by.Can(k.saves(), into.ID); err != nil {
		return err
	}
	if into.Status == auth.Deleting {
		return &auth.Error{Code: auth.ErrState.Code, Text: "tenant " + into.Name + ": is being deleted"}
	}
	var n int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM saved WHERE tenant_id = ? AND kind = ?`, into.ID.String(), string(k)).Scan(&n)
	if err == nil && n >= k.most() {
		return &auth.Error{Code: auth.ErrState.Code, Text: "the tenant has as many of these as it may have: delete one first"}
	}
	return err
}

// apply changes t as p says, or returns the first rule that the outcome breaks.
func (s *Service) apply(t *Thing, p Patch) error {
	if p.Name != nil {
		if err := checkName("name", *p.Name); err != nil {
			return err
		}
		t.Name = *p.Name
	}
	if p.Description != nil {
		if err := checkNote(*p.Description); err != nil {
			return err
		}
		t.Description = *p.Description
	}
	if err := s.share(t, p); err != nil {
		return err
	}
	if p.Owner != nil && *p.Owner != t.Owner {
		// SECURITY: users who do not reach the tenant are not found, like those that do not exist.
		if !s.directory.IsPresent(*p.Owner, t.Tenant) {
			return errMissing("user", *p.Owner)
		}
		t.Owner = *p.Owner
	}
	was := t.text()
	p.Change(&t.Definition)
	if t.ID != "" && bytes.Equal(was, t.text()) {
		return nil // a definition that is not touched is not judged anew: it may be of an older version
	}
	return t.check(t.Kind, s.languages)
}

// share sets who sees t.
func (s *Service) share(t *Thing, p Patch) error {
	if p.Sharing != nil {
		if t.Sharing = *p.Sharing; t.Sharing == "" {
			t.Sharing = Private
		}
	}
	if p.Team != nil {
		t.Team = *p.Team
	}
	switch t.Sharing {
	case Private, WithTenant:
		if p.Team != nil && t.Team != "" {
			return invalid("team: goes with the sharing %s", WithTeam)
		}
		t.Team = ""
	case WithTeam:
		if p.Sharing == nil && p.Team == nil {
			return nil // as it was, whatever became of the team
		}
		if t.Team == "" {
			return invalid("team: is missing")
		}
		team, ok := s.directory.TeamIn(t.Tenant, t.Team)
		if !ok {
			return errMissing("team", t.Team)
		}
		t.Team = team.ID
	default:
		return invalid("sharing %.40q: want %s, %s or %s", string(t.Sharing), Private, WithTeam, WithTenant)
	}
	return nil
}

func (t *Thing) insert(ctx context.Context, tx *store.Tx, at time.Time) error {
	t.ID, t.CreatedAt, t.ChangedAt = ulid.MustNew(ulid.Timestamp(at), rand.Reader).String(), at, at
	_, err := tx.ExecContext(ctx, `INSERT INTO saved (id, tenant_id, kind, name, description, owner_user, sharing, team_id, definition, created_at, changed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, t.ID, t.Tenant.String(), string(t.Kind), t.Name, t.Description, t.Owner, string(t.Sharing), t.Team,
		string(t.text()), at.UnixMilli(), at.UnixMilli())
	return err
}

// copyOf returns a definition that shares nothing with d.
func copyOf(d Definition) (out Definition) {
	if err := json.Unmarshal(d.text(), &out); err != nil {
		panic("BUG: definition: " + err.Error())
	}
	return out
}

// told is what the audit says of a thing: of the definition only which one it is.
func (t *Thing) told() map[string]any {
	sum := sha256.Sum256(t.text())
	out := map[string]any{"name": t.Name, "sharing": t.Sharing, "owner": t.Owner, "definition_sha256": hex.EncodeToString(sum[:])}
	if t.Team != "" {
		out["team"] = t.Team
	}
	return out
}

func entryOf(before, after *Thing) auth.Entry {
	detail := map[string]any{}
	t := after
	if before != nil {
		detail["saved_before"] = before.told()
		if t == nil {
			t = before
		}
	}
	if after != nil {
		detail["saved"] = after.told()
	}
	return auth.Entry{Tenant: t.Tenant, Target: t.ID, Detail: detailOf(detail)}
}

func detailOf(v map[string]any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("BUG: audit detail: " + err.Error())
	}
	return raw
}

// Run is a query to be run.
type Run struct {
	Source
	Values     []Value
	Start, End string // of the thing, where the caller names none
	Tenant     tenant.ID
	Scope      tenant.Scope // what the caller may read from the thing's tenant down
}

// Run returns what a caller who runs a thing runs: of a dashboard the panel. Errors: auth.ErrNotFound for the thing and the panel,
// auth.ErrForbidden, auth.ErrInvalid for the values, auth.ErrState for a tenant that is not active.
//
// SECURITY: the scope is the caller's, whoever the owner is.
func (s *Service) Run(ctx context.Context, by auth.Principal, k Kind, id, panel string, given map[string]json.RawMessage) (Run, error) {
	var t Thing
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		t, err = s.unsafeFind(ctx, tx, by, k, id)
		return err
	})
	if err != nil {
		return Run{}, err
	}
	if err := by.Can(permission.QueriesRun, t.Tenant); err != nil {
		return Run{}, err
	}
	out := Run{Source: t.Source, Start: t.Start, End: t.End, Tenant: t.Tenant, Scope: by.ScopeAt(t.Tenant)}
	if k == Dashboard {
		p := t.panel(panel)
		if p == nil {
			return Run{}, errMissing("panel", panel)
		}
		out.Source = p.Source
	}
	if !out.Scope.Valid() {
		return Run{}, &auth.Error{Code: auth.ErrState.Code, Text: "the tenant is not active: nothing is read in it"}
	}
	out.Values, err = t.bind(s.languages, given)
	return out, err
}
