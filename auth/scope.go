package auth

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// MaxScope is how many tenants one query reads at most.
const MaxScope = 1000

// ErrScopeTooWide answers a query over more than MaxScope tenants.
var ErrScopeTooWide = &Error{"scope-too-wide", "the query is over too many organizations: name fewer"}

// ScopeAt returns the tenants whose telemetry the principal may read at this moment from root down: root itself, and of the tenants
// below it those that the principal reaches with queries.run, or all of them for a key with ScopeDescendants. Without root
// there is none: the scope is not valid then. The principal's home pays. Tenants that are not active, or not below active ones only, are never in it.
//
// SECURITY: what a user may do is looked up at the call, so a Principal that was made before a grant ended reads no longer.
func (p Principal) ScopeAt(root tenant.ID) tenant.Scope { return p.scopeAt(root).PaidBy(p.Home()) }

func (p Principal) scopeAt(root tenant.ID) tenant.Scope {
	g := p.grant()
	switch {
	case root.IsZero():
		return tenant.Scope{}
	case g.user == "":
		if root != g.tenant {
			return tenant.Scope{}
		}
		return g.scope
	case g.enrol:
		return tenant.Scope{}
	}
	d := g.directory
	d.mu.RLock()
	defer d.mu.RUnlock()
	ids := []tenant.ID{root}
	if d.standsOverLocked(g.user) {
		ids = append(ids, d.descendantsLocked(root)...)
	}
	for id := range d.people.grants[g.user] {
		ids = append(ids, id)
	}
	for _, a := range d.people.access[g.user] {
		ids = append(ids, a.tenant)
	}
	ids = slices.DeleteFunc(ids, func(id tenant.ID) bool {
		may, _ := d.permissionsInLocked(g.user, id)
		return !may.Has(permission.QueriesRun) || id != root && !d.belowLocked(id, root) || !d.activeLocked(id)
	})
	if !slices.Contains(ids, root) {
		return tenant.Scope{}
	}
	return scopeOf(ids)
}

// standsOverLocked reports whether a user reaches all below the home.
func (d *Directory) standsOverLocked(user string) bool {
	u := d.people.users[user]
	return u != nil && d.people.permissionsOf(&u.User) == permission.Everything
}

// descendantsLocked returns the tenants below one, in no order.
func (d *Directory) descendantsLocked(root tenant.ID) (out []tenant.ID) {
	for id := range d.tenants {
		if d.belowLocked(id, root) {
			out = append(out, id)
		}
	}
	return out
}

// scopeOf returns the scope of ids, none of which is zero; not valid for none.
func scopeOf(ids []tenant.ID) tenant.Scope {
	s, err := tenant.NewScope(ids...)
	if err != nil {
		return tenant.Scope{}
	}
	return s
}

// Narrow returns the tenants of s that refs name, by name or id, or s for none. Errors: ErrNotFound for what is not in s, whether or
// not there is such a tenant, ErrScopeTooWide, ErrForbidden for a scope that is not valid.
//
// SECURITY: a name is no credential: the outcome is part of s.
func (d *Directory) Narrow(s tenant.Scope, refs []string) (tenant.Scope, error) {
	switch {
	case !s.Valid():
		return tenant.Scope{}, ErrForbidden
	case len(refs) > MaxScope:
		return tenant.Scope{}, ErrScopeTooWide
	}
	if len(refs) > 0 {
		known := map[string]tenant.ID{}
		for _, t := range d.Readable(s) {
			known[t.ID.String()], known[t.Name] = t.ID, t.ID
		}
		var ids []tenant.ID
		for _, ref := range refs {
			id, ok := known[ref]
			if !ok {
				id, ok = known[strings.ToLower(ref)]
			}
			if !ok {
				return tenant.Scope{}, detail(ErrNotFound, "no tenant %q", plainText(clip(ref)))
			}
			ids = append(ids, id)
		}
		s = scopeOf(ids).PaidBy(s.Payer())
	}
	if n := len(s.Strings()); n > MaxScope {
		return tenant.Scope{}, detail(ErrScopeTooWide, "you read %d organizations and a query at most %d: name some", n, MaxScope)
	}
	return s, nil
}

// Readable returns the tenants of a scope, by name.
func (d *Directory) Readable(s tenant.Scope) (out []Tenant) {
	d.mu.RLock()
	for _, text := range s.Strings() {
		if id, err := tenant.ParseID(text); err == nil && d.tenants[id] != nil {
			out = append(out, *d.tenants[id])
		}
	}
	d.mu.RUnlock()
	slices.SortFunc(out, func(a, b Tenant) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// readInterval is how often reading many tenants at once is recorded again for the same reader and tenant.
const readInterval = time.Minute

// maxReads bounds what is remembered of it; beyond, everything is recorded.
const maxReads = 100_000

// reads are what was recorded lately, by reader with action, and tenant.
type reads struct {
	mu   sync.Mutex // guards last
	last map[[2]string]time.Time
}

// due returns those of ids that a reader has not been recorded for lately.
func (r *reads) due(reader string, ids []tenant.ID, now time.Time) (out []tenant.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if at, ok := r.last[[2]string{reader, id.String()}]; !ok || now.Sub(at) >= readInterval || now.Before(at) {
			out = append(out, id)
		}
	}
	return out
}

// note remembers what was recorded.
func (r *reads) note(reader string, ids []tenant.ID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last)+len(ids) > maxReads {
		for k, at := range r.last {
			if now.Sub(at) >= readInterval {
				delete(r.last, k)
			}
		}
	}
	if r.last == nil {
		r.last = map[[2]string]time.Time{}
	}
	for _, id := range ids {
		if len(r.last) < maxReads {
			r.last[[2]string{reader, id.String()}] = now
		}
	}
}

// AuditScope records, before anything is read, that by reads telemetry of the tenants of s that are not its home, as AuditReads.
func (d *Directory) AuditScope(ctx context.Context, by Principal, s tenant.Scope, action string) error {
	var ids []tenant.ID
	for _, t := range d.Readable(s) {
		ids = append(ids, t.ID)
	}
	return d.AuditReads(ctx, by, ids, action)
}

// AuditReads records, before anything is read, that by reads of those of the tenants that are not its home. One such tenant is
// recorded each time, as by AuditCrossTenant. Of several, each tenant's audit has one entry per reader, action and minute of each process,
// and the home's one that names them all: else a board that refreshes itself would fill the audits of a thousand tenants.
func (d *Directory) AuditReads(ctx context.Context, by Principal, ids []tenant.ID, action string) error {
	ctx = Unheld(ctx)
	others := slices.DeleteFunc(slices.Clone(ids), func(id tenant.ID) bool { return id == by.Home() })
	if len(others) == 1 {
		return d.AuditCrossTenant(ctx, by, others[0], action, others[0].String())
	}
	now := d.now()
	reader := by.actor() + " " + action
	others = d.reads.due(reader, others, now)
	if len(others) == 0 {
		return nil
	}
	at := now.UTC().Truncate(time.Millisecond)
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		var names []string
		for _, id := range others {
			e := by.entry(at, action)
			e.Tenant, e.Target, e.Detail = id, id.String(), changeDetail("read", nil, d.readDetail(by, id, at))
			if err := writeEntry(ctx, tx, e); err != nil {
				return err
			}
			names = append(names, id.String())
		}
		e := by.entry(at, action)
		e.Tenant, e.Target, e.Detail = by.Home(), by.Home().String(), changeDetail("read", nil, map[string]any{"tenants": names})
		return writeEntry(ctx, tx, e)
	})
	if err == nil {
		d.reads.note(reader, others, now)
	}
	return err
}
