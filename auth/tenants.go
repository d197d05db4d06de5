package auth

import (
	"context"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Tenants is the control of tenants. Each method takes the principal that asks: the operator may do everything; a key with
// the admin scope may look at its own tenant; for everybody else, and for what does not exist, the answer is ErrNotFound
// or ErrForbidden. A ref is a name, in any case, or an id.
type Tenants struct{ d *Directory }

// Create makes an active tenant. Errors: ErrForbidden, ErrInvalid, ErrNameTaken, ErrNotFound for the parent, ErrState for a
// parent that is not active or at the greatest depth (a root has depth 1, the deepest 8).
func (s *Tenants) Create(ctx context.Context, by Principal, n NewTenant) (Tenant, error) {
	var t Tenant
	err := s.d.change(ctx, by, "tenant.create", n.Name, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		if !by.IsOperator() {
			return Entry{}, ErrForbidden
		}
		var err error
		if t, err = n.build(at); err != nil {
			return Entry{}, err
		}
		if n.Parent != "" {
			p, err := resolve(ctx, tx, by, n.Parent)
			if err != nil {
				return Entry{}, err
			}
			if err := checkParent(ctx, tx, p); err != nil {
				return Entry{}, err
			}
			t.Parent = p.ID
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO tenants (id, name, slug, parent_id, status, daily_bytes, retention_days,
			at_limit, placement, keep_resends, limits, time_zone, created_at, changed_at, rev)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			t.ID.String(), t.Name, t.Name, nullText(t.Parent.String()), t.Status, t.DailyBytes, t.RetentionDays, t.AtLimit,
			t.Partition, number(t.KeepResends), t.limitsText(), t.TimeZone, at.UnixMilli(), at.UnixMilli(), rev)
		if err != nil {
			return Entry{}, nameTaken(err, t.Name)
		}
		return tenantEntry(nil, &t), nil
	})
	if err != nil {
		return Tenant{}, err
	}
	return t, nil
}

// build makes the tenant that n asks for, or says which rule n breaks.
func (n NewTenant) build(at time.Time) (Tenant, error) {
	name, err := normalName(n.Name)
	if err != nil {
		return Tenant{}, err
	}
	id, err := tenant.ParseID(newID(at))
	if err != nil {
		return Tenant{}, err
	}
	t := Tenant{ID: id, Name: name, Status: Active, DailyBytes: n.DailyBytes, Bounds: sortBounds(n.Bounds), AtLimit: n.AtLimit,
		Partition: partition(id, n.OwnPartition), KeepResends: n.KeepResends, CreatedAt: at, ChangedAt: at}
	if err := t.setZone(n.TimeZone); err != nil {
		return Tenant{}, err
	}
	if t.AtLimit == "" {
		t.AtLimit = tenant.Refuse
	}
	days := n.RetentionDays
	if days == 0 {
		days = defaultRetentionDays
	}
	return t, t.check(days)
}

// checkParent returns ErrState unless a child may be made below p.
func checkParent(ctx context.Context, tx *store.Tx, p Tenant) error {
	depth := 1
	for at := p; ; depth++ {
		if at.Status != Active {
			return detail(ErrState, "parent %s: not active", p.Name)
		}
		if depth == maxDepth {
			return detail(ErrState, "parent %s: tenants are nested at most %d deep", p.Name, maxDepth)
		}
		if at.Parent.IsZero() {
			return nil
		}
		rows, err := queryTenants(ctx, tx, `WHERE id = ?`, at.Parent.String())
		if err != nil {
			return err
		}
		if len(rows) == 0 || rows[0].gone {
			return detail(ErrState, "parent %s: below a deleted tenant", p.Name)
		}
		at = rows[0].Tenant
	}
}

// Show returns one tenant, or ErrNotFound.
func (s *Tenants) Show(ctx context.Context, by Principal, ref string) (t Tenant, err error) {
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		t, err = resolve(ctx, tx, by, ref)
		return err
	})
	return t, err
}

// ListTenants selects tenants for List.
type ListTenants struct {
	Search string // part of the name
	Status Status // "" is any
	After  string // the next of the page before
	Limit  int    // 0 is 100, at most 1000
}

// List returns the tenants in the caller's reach by name, and what goes into After for the next page, "" at the end.
func (s *Tenants) List(ctx context.Context, by Principal, l ListTenants) (out []Tenant, next string, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return nil, "", err
	}
	limit := pageSize(l.Limit)
	where := `WHERE deleted_at IS NULL AND name > ? AND name LIKE ? ESCAPE '!' AND (? = '' OR status = ?)`
	status := plainText(string(l.Status))
	args := []any{plainText(l.After), contains(strings.ToLower(l.Search)), status, status}
	if !by.IsOperator() {
		where, args = where+` AND id = ?`, append(args, by.Tenant().String())
	}
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := queryTenants(ctx, tx, where+` ORDER BY name LIMIT ?`, append(args, limit+1)...)
		for _, r := range rows {
			out = append(out, r.Tenant)
		}
		return err
	})
	if err == nil && len(out) > limit {
		out = out[:limit]
		next = out[limit-1].Name
	}
	return out, next, err
}

// Set changes what p names and returns the tenant as it is then. Errors: ErrForbidden, ErrNotFound, ErrInvalid,
// ErrNameTaken, ErrState for a tenant that is being deleted.
func (s *Tenants) Set(ctx context.Context, by Principal, ref string, p Patch) (Tenant, error) {
	return s.modify(ctx, by, "tenant.set", ref, func(_ *store.Tx, t *Tenant) error {
		if t.Status == Deleting {
			return detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		return p.apply(t)
	})
}

// Disable stops all keys of the tenant and its descendants; data stays. Disabling twice is fine.
func (s *Tenants) Disable(ctx context.Context, by Principal, ref string) (Tenant, error) {
	return s.modify(ctx, by, "tenant.disable", ref, func(_ *store.Tx, t *Tenant) error { return t.move(Inactive, Active) })
}

// Enable undoes Disable.
func (s *Tenants) Enable(ctx context.Context, by Principal, ref string) (Tenant, error) {
	return s.modify(ctx, by, "tenant.enable", ref, func(_ *store.Tx, t *Tenant) error { return t.move(Active, Inactive) })
}

// move sets the status to, coming from from or already there.
func (t *Tenant) move(to, from Status) error {
	if t.Status != to && t.Status != from {
		return detail(ErrState, "tenant %s: is %s", t.Name, t.Status)
	}
	t.Status = to
	return nil
}

// modify loads the tenant, lets fn change it and stores it, all in one transaction.
func (s *Tenants) modify(ctx context.Context, by Principal, action, ref string, fn func(tx *store.Tx, t *Tenant) error) (Tenant, error) {
	var t Tenant
	err := s.d.change(ctx, by, action, ref, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if t, err = resolve(ctx, tx, by, ref); err != nil {
			return Entry{}, err
		}
		if !by.IsOperator() {
			return Entry{}, ErrForbidden
		}
		before := t
		if err := fn(tx, &t); err != nil {
			return Entry{}, err
		}
		t.ChangedAt = at
		_, err = tx.ExecContext(ctx, `UPDATE tenants SET name = ?, status = ?, daily_bytes = ?, retention_days = ?,
			at_limit = ?, placement = ?, keep_resends = ?, limits = ?, time_zone = ?, changed_at = ?, rev = ? WHERE id = ?`,
			t.Name, t.Status, t.DailyBytes, t.RetentionDays, t.AtLimit, t.Partition, number(t.KeepResends), t.limitsText(),
			t.TimeZone, at.UnixMilli(), rev, t.ID.String())
		if err != nil {
			return Entry{}, nameTaken(err, t.Name)
		}
		return tenantEntry(&before, &t), nil
	})
	if err != nil {
		return Tenant{}, err
	}
	return t, nil
}

// resolve finds a tenant by id or name.
//
// SECURITY: what by does not reach is not found, by the same error as what does not exist. Finished deletions are not
// found by anybody.
func resolve(ctx context.Context, tx *store.Tx, by Principal, ref string) (Tenant, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return Tenant{}, err
	}
	notFound := detail(ErrNotFound, "no tenant %q", clip(ref))
	where, arg := `WHERE deleted_at IS NULL AND name = ?`, ""
	if name, err := normalName(ref); err == nil {
		arg = name
	} else if _, err := tenant.ParseID(ref); err == nil {
		where, arg = `WHERE deleted_at IS NULL AND id = ?`, ref
	} else {
		return Tenant{}, notFound
	}
	rows, err := queryTenants(ctx, tx, where, arg)
	if err != nil {
		return Tenant{}, err
	}
	if len(rows) == 0 || !by.reaches(rows[0].ID) {
		return Tenant{}, notFound
	}
	return rows[0].Tenant, nil
}

func tenantEntry(before, after *Tenant) Entry {
	e := Entry{}
	a := auditDetail{}
	if before != nil {
		a.Before, e.Tenant, e.Target = planOf(*before), before.ID, before.ID.String()
	}
	if after != nil {
		a.After, e.Tenant, e.Target = planOf(*after), after.ID, after.ID.String()
	}
	e.Detail = a.json()
	return e
}

func nameTaken(err error, name string) error {
	if store.IsConflict(err) {
		return detail(ErrNameTaken, "tenant name %s is taken", name)
	}
	return err
}

// contains returns the pattern of texts that have part in them; ! escapes.
func contains(part string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(plainText(part)) + "%"
}

// plainText returns s without what no stored text has, and PostgreSQL takes in none: NUL, and what is not UTF-8.
func plainText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// number is a truth value as the database has it.
func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}
