package auth

import (
	"context"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Tenants is the control of tenants. Each method takes the principal that asks, whose permissions decide: ErrNotFound for
// tenants out of reach, like those that do not exist, ErrForbidden within reach. The operator may do everything. A ref is a
// name, in any case, or an id.
type Tenants struct{ d *Directory }

// Create makes an active tenant. Below a parent it takes tenants.create there, and limits.manage there too for limits and plans;
// a root takes the operator. Errors: ErrForbidden, ErrInvalid, ErrNameTaken, ErrSlugTaken, ErrRegion, ErrNotFound for the
// parent, ErrState for a parent that is not active or at the greatest depth (a root has depth 1, the deepest 8).
func (s *Tenants) Create(ctx context.Context, by Principal, n NewTenant) (Tenant, error) {
	var t Tenant
	err := s.d.change(ctx, by, "tenant.create", n.Name, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		p, err := n.below(ctx, tx, by)
		if err != nil {
			return Entry{}, err
		}
		if t, err = n.build(at); err != nil {
			return Entry{}, err
		}
		if t.Region, err = s.regionOf(ctx, tx, n.Region); err != nil {
			return Entry{}, err
		}
		if !p.ID.IsZero() {
			if _, err := checkParent(ctx, tx, p); err != nil {
				return Entry{}, err
			}
			t.Parent = p.ID
		}
		if err := slugFree(ctx, tx, t); err != nil {
			return Entry{}, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO tenants (id, name, slug, parent_id, status, daily_bytes, retention_days,
			at_limit, placement, keep_resends, limits, time_zone, owner_email, plan_id, edition_id, subscription_id, region,
			second_factor, max_users, max_keys, query_tier, created_at, changed_at, rev)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			t.ID.String(), t.Name, t.Slug, nullText(t.Parent.String()), t.Status, t.DailyBytes, t.RetentionDays, t.AtLimit,
			t.Partition, number(t.KeepResends), t.limitsText(), t.TimeZone, t.Owner, t.PlanID, t.EditionID, t.SubscriptionID,
			t.Region, t.SecondFactor, t.MaxUsers, t.MaxKeys, t.QueryTier, at.UnixMilli(), at.UnixMilli(), rev)
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

// below returns the parent that by may make the tenant under, the zero Tenant for none.
func (n NewTenant) below(ctx context.Context, tx *store.Tx, by Principal) (Tenant, error) {
	if n.Parent == "" {
		if !by.IsOperator() {
			return Tenant{}, detail(ErrForbidden, "only the operator makes tenants without a parent: name one")
		}
		return Tenant{}, nil
	}
	p, err := permitted(ctx, tx, by, permission.TenantsCreate, n.Parent)
	if err == nil && n.QueryTier != "" && !by.IsOperator() {
		err = errTier
	}
	if err == nil && n.limits() {
		err = by.Can(permission.LimitsManage, p.ID)
	}
	return p, err
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
		Partition: id.Partition(n.OwnPartition), KeepResends: n.KeepResends,
		TenantDetails: n.TenantDetails.withDefaults(name), CreatedAt: at, ChangedAt: at}
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

// checkParent returns ErrState unless a child may be made below p, which has that depth.
func checkParent(ctx context.Context, tx *store.Tx, p Tenant) (depth int, err error) {
	depth = 1
	for at := p; ; depth++ {
		if at.Status != Active {
			return 0, detail(ErrState, "parent %s: not active", p.Name)
		}
		if depth == maxDepth {
			return 0, detail(ErrState, "parent %s: tenants are nested at most %d deep", p.Name, maxDepth)
		}
		if at.Parent.IsZero() {
			return depth, nil
		}
		rows, err := queryTenants(ctx, tx, `WHERE id = ?`, at.Parent.String())
		if err != nil {
			return 0, err
		}
		if len(rows) == 0 || rows[0].gone {
			return 0, detail(ErrState, "parent %s: below a deleted tenant", p.Name)
		}
		at = rows[0].Tenant
	}
}

// Show returns one tenant. Errors: ErrNotFound, ErrForbidden without tenants.read there.
func (s *Tenants) Show(ctx context.Context, by Principal, ref string) (t Tenant, err error) {
	return s.Find(ctx, by, permission.TenantsRead, ref)
}

// Find returns a tenant in which by may do what. Errors: ErrNotFound, ErrForbidden.
func (s *Tenants) Find(ctx context.Context, by Principal, what permission.Permission, ref string) (Tenant, error) {
	var t Tenant
	err := s.d.db.View(ctx, func(tx *store.Tx) (err error) {
		t, err = permitted(ctx, tx, by, what, ref)
		return err
	})
	if err == nil {
		err = s.d.auditVisit(ctx, by, t.ID, "tenant.read", string(what))
	}
	if err != nil {
		return Tenant{}, err
	}
	return t, nil
}

// ListTenants selects tenants for List.
type ListTenants struct {
	Search string // part of the name or of the owner's address, in any case
	Status Status // "" is any
	After  string // the next of the page before
	Limit  int    // 0 is 100, at most 1000
}

// List returns the tenants in which by has tenants.read, by name, and what goes into After for the next page, "" at the end.
// Errors: ErrForbidden if there are none.
func (s *Tenants) List(ctx context.Context, by Principal, l ListTenants) (out []Tenant, next string, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return nil, "", err
	}
	limit := pageSize(l.Limit)
	part, status := contains(strings.ToLower(l.Search)), plainText(string(l.Status))
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		rows, err := pageWithin(by, permission.TenantsRead, "id", limit, plainText(l.After),
			func(and string, args []any, after string, n int) ([]tenantRow, error) {
				return queryTenants(ctx, tx, `WHERE deleted_at IS NULL AND name > ? AND (name LIKE ? ESCAPE '!' OR lower(owner_email) LIKE ? ESCAPE '!')
					AND (? = '' OR status = ?)`+and+` ORDER BY name LIMIT ?`,
					append(append([]any{after, part, part, status, status}, args...), n)...)
			}, func(r tenantRow) tenant.ID { return r.ID }, func(r tenantRow) string { return r.Name })
		for _, r := range rows {
			out = append(out, r.Tenant)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	out, next = page(out, limit, func(t *Tenant) string { return t.Name })
	return out, next, nil
}

// Set changes what p names and returns the tenant as it is then. Settings take tenants.update; limits, the time zone and plans
// take limits.manage in the tenant and in one above it. Errors: ErrForbidden, ErrNotFound, ErrInvalid, ErrNameTaken,
// ErrSlugTaken, ErrState for a tenant that is being deleted.
func (s *Tenants) Set(ctx context.Context, by Principal, ref string, p Patch) (Tenant, error) {
	return s.modify(ctx, by, "tenant.set", ref, func(tx *store.Tx, t *Tenant) error {
		if err := s.d.permit(by, *t, p); err != nil {
			return err
		}
		if t.Status == Deleting {
			return detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		if err := p.apply(t); err != nil {
			return err
		}
		return slugFree(ctx, tx, *t)
	})
}

// Disable stops all keys and sessions of the tenant and its descendants; data stays. Like Enable it takes tenants.update in the
// tenant and in one above it. Disabling twice is fine.
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
	return s.modifyRow(ctx, by, action, ref, func(tx *store.Tx, t *Tenant, _ int64, _ time.Time) error { return fn(tx, t) })
}

// modifyRow is modify for changes that other rows go with.
func (s *Tenants) modifyRow(ctx context.Context, by Principal, action, ref string,
	fn func(tx *store.Tx, t *Tenant, rev int64, at time.Time) error) (Tenant, error) {
	var t Tenant
	err := s.d.change(ctx, by, action, ref, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		var err error
		if t, err = resolve(ctx, tx, by, ref); err != nil {
			return Entry{}, err
		}
		if err := s.mayModify(by, action, t); err != nil {
			return Entry{}, err
		}
		before := t
		if err := fn(tx, &t, rev, at); err != nil {
			return Entry{}, err
		}
		t.ChangedAt = at
		_, err = tx.ExecContext(ctx, `UPDATE tenants SET name = ?, slug = ?, parent_id = ?, status = ?, daily_bytes = ?, retention_days = ?,
			at_limit = ?, placement = ?, keep_resends = ?, limits = ?, time_zone = ?, owner_email = ?, plan_id = ?, edition_id = ?,
			subscription_id = ?, second_factor = ?, max_users = ?, max_keys = ?, query_tier = ?, changed_at = ?, rev = ? WHERE id = ?`,
			t.Name, t.Slug, nullText(t.Parent.String()), t.Status, t.DailyBytes, t.RetentionDays, t.AtLimit, t.Partition,
			number(t.KeepResends), t.limitsText(), t.TimeZone, t.Owner, t.PlanID, t.EditionID, t.SubscriptionID, t.SecondFactor,
			t.MaxUsers, t.MaxKeys, t.QueryTier, at.UnixMilli(), rev, t.ID.String())
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

// mayModify returns nil if by may begin that change of the tenant. Those whose permissions depend on what is changed check in
// their own functions.
func (s *Tenants) mayModify(by Principal, action string, t Tenant) error {
	switch action {
	case "tenant.set", "tenant.move":
		return nil
	case "tenant.security":
		return by.Can(permission.SecurityManage, t.ID)
	case "tenant.disable", "tenant.enable":
		return s.d.canFromAbove(by, permission.TenantsUpdate, t)
	case "tenant.delete":
		return s.d.canFromAbove(by, permission.TenantsDelete, t)
	}
	if !by.IsOperator() {
		return ErrForbidden
	}
	return nil
}

// slugFree returns ErrSlugTaken if another tenant has the slug of t.
func slugFree(ctx context.Context, tx *store.Tx, t Tenant) error {
	rows, err := queryTenants(ctx, tx, `WHERE slug = ? AND id <> ? AND deleted_at IS NULL`, t.Slug, t.ID.String())
	if err != nil || len(rows) == 0 {
		return err
	}
	if rows[0].Name == t.Name { // the name is what is in the way
		return detail(ErrNameTaken, "tenant name %s is taken", t.Name)
	}
	return detail(ErrSlugTaken, "slug %s is taken", t.Slug)
}

// resolve finds a tenant by id or name.
//
// SECURITY: what by does not reach is not found, by the same error as what does not exist. Finished deletions are not
// found by anybody.
func resolve(ctx context.Context, tx *store.Tx, by Principal, ref string) (Tenant, error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return Tenant{}, err
	}
	return unsafeNamed(ctx, tx, ref, func(t Tenant) bool { return by.reaches(t.ID) })
}

// unsafeNamed returns the tenant of a name or id.
//
// SECURITY: tenants that are not reached are not found, by the same error as those that do not exist.
func unsafeNamed(ctx context.Context, tx *store.Tx, ref string, reached func(Tenant) bool) (Tenant, error) {
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
	if len(rows) == 0 || !reached(rows[0].Tenant) {
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
