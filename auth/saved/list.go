package saved

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Filter selects things for List.
type Filter struct {
	Tenant string // name or id; "" is where the caller acts
	Search string // part of the name or description, in any case
	Mine   bool   // only the caller's own
	After  string // the next of the page before
	Limit  int    // 1 to 1000
}

// List returns the things of a tenant that the caller sees, by name and without their definitions, and what goes into After for the next page,
// "" at the end. Errors: auth.ErrNotFound for the tenant, auth.ErrForbidden, auth.ErrInvalid.
func (s *Service) List(ctx context.Context, by auth.Principal, k Kind, f Filter) (out []Thing, next string, err error) {
	after, err := base64.RawURLEncoding.DecodeString(f.After)
	if err != nil {
		return nil, "", invalid("cursor: is not from here")
	}
	var of auth.Tenant
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if of, err = s.directory.Find(ctx, tx, by, f.Tenant); err != nil {
			return err
		}
		if err := by.Can(permission.DashboardsRead, of.ID); err != nil {
			return err
		}
		out, err = headers(ctx, tx, of.ID, k)
		return err
	})
	if err == nil {
		err = s.directory.AuditCrossTenant(ctx, by, of.ID, k.action("list"), of.ID.String())
	}
	if err != nil {
		return nil, "", err
	}
	search := strings.ToLower(f.Search)
	out = slices.DeleteFunc(out, func(t Thing) bool {
		return f.Mine && !t.isOwnedBy(by) || t.place() <= string(after) || !s.isSeenBy(&t, by) ||
			!strings.Contains(strings.ToLower(t.Name+"\n"+t.Description), search)
	})
	slices.SortFunc(out, func(a, b Thing) int { return strings.Compare(a.place(), b.place()) })
	if len(out) > f.Limit {
		out = out[:f.Limit]
		next = base64.RawURLEncoding.EncodeToString([]byte(out[f.Limit-1].place()))
	}
	return out, next, nil
}

// place is where a thing stands in lists. Two things never have the same.
func (t *Thing) place() string { return strings.ToLower(t.Name) + "\x00" + t.ID }

// headers reads all things of a tenant without their definitions: there are few enough to see who sees them one by one.
func headers(ctx context.Context, tx *store.Tx, of tenant.ID, k Kind) (out []Thing, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+columns+` FROM saved WHERE tenant_id = ? AND kind = ?`, of.String(), string(k))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		t, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// Show returns a thing. Errors: auth.ErrNotFound, auth.ErrForbidden.
func (s *Service) Show(ctx context.Context, by auth.Principal, k Kind, id string) (t Thing, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		t, err = s.unsafeFind(ctx, tx, by, k, id)
		return err
	})
	if err == nil {
		err = s.directory.AuditCrossTenant(ctx, by, t.Tenant, k.action("show"), t.ID)
	}
	if err != nil {
		return Thing{}, err
	}
	return t, nil
}
