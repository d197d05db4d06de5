package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// wantScope fails unless s is of the tenants with these names, in any order; none is a scope that is not valid.
func (w *world) wantScope(what string, s tenant.Scope, want ...string) {
	w.t.Helper()
	var got []string
	for _, t := range w.Readable(s) {
		got = append(got, t.Name)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) || s.Valid() != (len(want) > 0) {
		w.t.Errorf("%s reads %q, want %q", what, got, want)
	}
}

// What a user reads is the tenant acted in and, below it, what the user reaches with queries.run, at the moment of asking.
func TestUsersReadWhereTheyActAndBelowWhatTheyReach(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx := t.Context()
		f.wantScope("a root admin", f.rita.Scope(), "root", "child", "grandchild", "sibling")
		f.wantScope("an admin", f.ann.Scope(), "child")
		f.wantScope("a viewer", f.vic.Scope(), "child")
		f.wantScope("a root admin, at a child", f.rita.ScopeAt(f.child.ID), "child", "grandchild")
		for _, elsewhere := range []tenant.ID{f.root.ID, f.sibling.ID, f.grandchild.ID, f.foreign.ID, {}} {
			f.wantScope("an admin elsewhere", f.ann.ScopeAt(elsewhere))
		}
		f.wantScope("a root admin, at a foreign tenant", f.rita.ScopeAt(f.foreign.ID))
		f.wantScope("the operator", f.op.Scope())
		f.wantScope("nobody", Principal{}.Scope())
		_, none := f.signedIn("nell", f.root, permission.NoAccess)
		f.wantScope("who may run nothing", none.Scope())

		// The same Principal, before and after.
		olga, in := f.signedIn("olga", f.root, permission.Viewer)
		f.wantScope("without grants", in.Scope(), "root")
		if _, err := f.Grants().Put(ctx, f.rita, olga, "grandchild"); err != nil {
			t.Fatal(err)
		}
		f.wantScope("with a grant", in.Scope(), "root", "grandchild")
		f.wantScope("at a tenant between, which is not granted", in.ScopeAt(f.child.ID))
		f.giveAccess(olga, f.sibling, permission.Of(permission.QueriesRun), time.Hour)
		f.giveAccess(olga, f.child, permission.Of(permission.UsersRead), time.Hour)
		f.wantScope("with access", in.Scope(), "root", "grandchild", "sibling")
		f.wantScope("at one of two that are reached", in.ScopeAt(f.sibling.ID), "sibling")
		f.clock.Add(time.Hour - time.Millisecond)
		f.wantScope("a moment before the end", in.Scope(), "root", "grandchild", "sibling")
		f.clock.Add(time.Millisecond)
		f.wantScope("after the end of the access", in.Scope(), "root", "grandchild")
		if err := f.Grants().Withdraw(ctx, f.rita, olga, "grandchild"); err != nil {
			t.Fatal(err)
		}
		f.wantScope("after the grant", in.Scope(), "root")

		if _, err := f.Tenants().Disable(ctx, f.op, "child"); err != nil {
			t.Fatal(err)
		}
		f.wantScope("a root admin above a disabled child", f.rita.Scope(), "root", "sibling")
		f.wantScope("at the disabled child", f.rita.ScopeAt(f.child.ID))
		f.wantScope("below the disabled child", f.rita.ScopeAt(f.grandchild.ID))
		if _, err := f.Tenants().Enable(ctx, f.op, "child"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Tenants().Move(ctx, f.op, "grandchild", "foreign"); err != nil {
			t.Fatal(err)
		}
		f.wantScope("after a move", f.rita.Scope(), "root", "child", "sibling")
		if _, err := f.Users().Deactivate(ctx, f.rita, olga); err != nil {
			t.Fatal(err)
		}
		f.wantScope("an inactive user", in.Scope())
	})
}

// A key reads its own tenant, and with the scope descendants all below, as the tree is.
func TestKeysReadBelowOnlyWithTheirScope(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx := t.Context()
		_, text := f.key(NewKey{Tenant: "root", Scopes: []KeyScope{ScopeQuery, ScopeDescendants}})
		reads := func(what string, want ...string) {
			t.Helper()
			p, err := f.Authenticate(text)
			if err != nil {
				t.Fatal(err)
			}
			f.wantScope(what, p.Scope(), want...)
			for _, below := range []tenant.ID{f.child.ID, f.foreign.ID} {
				f.wantScope(what+", at another", p.ScopeAt(below))
			}
			if _, reached := p.Permissions(f.child.ID); reached {
				t.Error("a key that reads below reaches what is managed there")
			}
		}
		f.wantScope("a plain key", f.as("root", ScopeQuery).Scope(), "root")
		reads("with descendants", "root", "child", "grandchild", "sibling")
		later := f.tenant(NewTenant{Name: "later", Parent: "sibling"})
		reads("with one that came", "root", "child", "grandchild", "sibling", "later")
		if _, err := f.Tenants().Disable(ctx, f.op, "child"); err != nil {
			t.Fatal(err)
		}
		reads("with one disabled", "root", "sibling", "later")
		if _, err := f.Tenants().Move(ctx, f.op, later.Name, "foreign"); err != nil {
			t.Fatal(err)
		}
		reads("with one moved away", "root", "sibling")

		for _, c := range []struct {
			who  string
			by   Principal
			in   string
			want error
		}{
			{"an admin, who does not reach what is below", f.ann, "child", ErrForbidden},
			{"a root admin", f.rita, "sibling", nil},
			{"a key without it", f.as("root", ScopeAdmin, ScopeQuery), "root", ErrForbidden},
			{"a key with it", f.as("root", ScopeAdmin, ScopeQuery, ScopeDescendants), "root", nil},
			{"the operator", f.op, "foreign", nil},
		} {
			if c.in == "child" {
				if _, err := f.Tenants().Enable(ctx, f.op, "child"); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := f.Keys().Create(ctx, c.by, NewKey{Tenant: c.in, Scopes: []KeyScope{ScopeQuery, ScopeDescendants}})
			wantErr(t, c.who, err, c.want)
		}
		_, _, err := f.Keys().Create(ctx, f.op, NewKey{Tenant: "root", Scopes: []KeyScope{ScopeDescendants}})
		wantErr(t, "descendants without query", err, ErrInvalid)
	})
}

func TestNamesNarrowAScopeAndNeverWidenIt(t *testing.T) {
	f := newFamily(t)
	narrow := func(p Principal, refs ...string) (tenant.Scope, error) { return f.Narrow(p.Scope(), refs) }
	for _, c := range []struct {
		refs []string
		want []string
	}{
		{nil, []string{"root", "child", "grandchild", "sibling"}},
		{[]string{"child"}, []string{"child"}},
		{[]string{"Child", f.sibling.ID.String(), "child"}, []string{"child", "sibling"}},
	} {
		s, err := narrow(f.rita, c.refs...)
		if err != nil {
			t.Error(err)
		}
		f.wantScope(fmt.Sprint(c.refs), s, c.want...)
	}
	_, missing := narrow(f.ann, "no-such-tenant")
	for _, ref := range []string{"root", "sibling", "foreign", "grandchild", f.root.ID.String(), f.foreign.ID.String(), "", "*", "child,sibling", "chil%"} {
		s, err := narrow(f.ann, "child", ref)
		wantErr(t, "Narrow to "+ref, err, ErrNotFound)
		if s.Valid() || err != nil && strings.ReplaceAll(err.Error(), `"`+ref+`"`, "") != strings.ReplaceAll(missing.Error(), `"no-such-tenant"`, "") {
			t.Errorf("Narrow to %q = %v, want what a missing one gets: %v", ref, err, missing)
		}
	}
	_, err := f.Narrow(tenant.Scope{}, nil)
	wantErr(t, "Narrow of nothing", err, ErrForbidden)

	var many []tenant.ID
	for i := range MaxScope + 1 {
		id, err := tenant.ParseID(fmt.Sprintf("t%d", i))
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, id)
	}
	_, err = f.Narrow(scopeOf(many), nil)
	wantErr(t, "a scope that is too wide", err, ErrScopeTooWide)
	if _, err := f.Narrow(scopeOf(many[1:]), nil); err != nil {
		t.Error(err)
	}
	_, err = f.Narrow(f.rita.Scope(), make([]string, MaxScope+1))
	wantErr(t, "too many names", err, ErrScopeTooWide)
}

// Every tenant that is read from elsewhere has an entry: each time where it is one, once a minute where it is several.
func TestReadingOthersTelemetryIsRecorded(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx := t.Context()
		read := func(p Principal, refs ...string) {
			t.Helper()
			s, err := f.Narrow(p.Scope(), refs)
			if err == nil {
				err = f.AuditScope(ctx, p, s, "query.run")
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		count := func(tenantName, actor string) (n int) {
			t.Helper()
			entries, _, err := f.Audit(ctx, f.op, AuditFilter{Tenant: tenantName, Action: "query.run", Actor: actor})
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		want := func(what, actor string, at map[string]int) {
			t.Helper()
			for name, n := range at {
				if got := count(name, actor); got != n {
					t.Errorf("%s: %s has %d entries, want %d", what, name, got, n)
				}
			}
		}
		rita := f.rita.actor()
		read(f.ann)
		want("one's own", f.ann.actor(), map[string]int{"child": 0, "root": 0})
		read(f.rita)
		want("several", rita, map[string]int{"root": 1, "child": 1, "grandchild": 1, "sibling": 1, "foreign": 0})
		read(f.rita)
		want("again at once", rita, map[string]int{"root": 1, "child": 1})
		read(f.rita, "child")
		read(f.rita, "child")
		want("one of them, twice", rita, map[string]int{"root": 3, "child": 3, "sibling": 1})
		f.clock.Add(readInterval)
		read(f.rita, "child", "sibling")
		want("a minute later", rita, map[string]int{"root": 4, "child": 4, "sibling": 2, "grandchild": 1})
		key := f.as("root", ScopeQuery, ScopeDescendants)
		read(key)
		want("another reader", key.actor(), map[string]int{"root": 1, "child": 1, "grandchild": 1, "sibling": 1})

		// What cannot be recorded is not read, and the next attempt is recorded again.
		f.clock.Add(readInterval)
		f.sql(`ALTER TABLE audit RENAME TO audit_away -- %d`)
		s := f.rita.Scope()
		if err := f.AuditScope(ctx, f.rita, s, "query.run"); err == nil {
			t.Error("reading without an entry")
		}
		f.sql(`ALTER TABLE audit_away RENAME TO audit -- %d`)
		read(f.rita)
		want("after that", rita, map[string]int{"grandchild": 2})
	})
}

// A query of several tenants does not hide for the rest of the minute that their usage is read too.
func TestEachKindOfReadingManyTenantsIsRecorded(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		for _, action := range []string{"query.run", "query.run", "usage.read"} {
			wantErr(t, action, f.AuditReads(t.Context(), f.rita, []tenant.ID{f.child.ID, f.sibling.ID}, action), nil)
		}
		for _, action := range []string{"query.run", "usage.read"} {
			entries, _, err := f.Audit(t.Context(), f.op, AuditFilter{Tenant: "child", Action: action})
			if err != nil || len(entries) != 1 {
				t.Errorf("%d entries of %s, want 1; %v", len(entries), action, err)
			}
		}
	})
}
