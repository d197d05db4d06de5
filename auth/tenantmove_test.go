package auth

import (
	"fmt"
	"sync"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

func TestTreeStaysATree(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		move := func(name, parent string, want error) {
			t.Helper()
			_, err := w.Tenants().Move(t.Context(), w.op, name, parent)
			wantErr(t, fmt.Sprintf("Move(%s, %s)", name, parent), err, want)
		}
		parent := ""
		for i := 1; i <= maxDepth; i++ { // t1 … t8
			name := fmt.Sprintf("t%d", i)
			w.tenant(NewTenant{Name: name, Parent: parent})
			parent = name
		}
		w.tenant(NewTenant{Name: "alone"})
		w.tenant(NewTenant{Name: "pair"})
		w.tenant(NewTenant{Name: "below", Parent: "pair"})
		_, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "t9", Parent: "t8"})
		wantErr(t, "a ninth level", err, ErrState)
		move("t1", "t1", ErrState)
		move("t1", "t8", ErrState)
		move("t3", "t4", ErrState)
		move("alone", "t8", ErrState)
		move("pair", "t7", ErrState)
		move("alone", "nobody", ErrNotFound)
		move("nobody", "t1", ErrNotFound)
		move("alone", "t7", nil)
		move("pair", "t6", nil)
		move("t8", "t7", nil) // where it is
		move("t5", "", nil)
		move("t1", "t5", nil)
		if got, err := w.Tenants().Show(t.Context(), w.op, "t1"); err != nil || got.Parent.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := w.Tenants().Disable(t.Context(), w.op, "t4"); err != nil {
			t.Fatal(err)
		}
		w.tenant(NewTenant{Name: "late"})
		move("late", "t4", ErrState)
	})
}

func TestTwoMovesAtOnceMakeNoCircle(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.tenant(NewTenant{Name: "a"}), w.tenant(NewTenant{Name: "b"})
		var wg sync.WaitGroup
		errs := make([]error, 2)
		wg.Go(func() { _, errs[0] = w.Tenants().Move(t.Context(), w.op, "a", "b") })
		wg.Go(func() { _, errs[1] = w.Tenants().Move(t.Context(), w.op, "b", "a") })
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("moves ended with %v and %v, want one of them refused", errs[0], errs[1])
		}
		if la, lb := len(w.ancestors(a.ID)), len(w.ancestors(b.ID)); la+lb != 3 {
			t.Errorf("depths %d and %d", la, lb)
		}
	})
}

func TestMovedTenantHasItsNewAncestorsLimitsAndStatus(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "old", DailyBytes: ptr(int64(7))})
		next := w.tenant(NewTenant{Name: "new", DailyBytes: ptr(int64(5))})
		w.tenant(NewTenant{Name: "child", Parent: "old"})
		_, text := w.key(NewKey{Tenant: "child"})
		if _, err := w.Tenants().Move(t.Context(), w.op, "child", "new"); err != nil {
			t.Fatal(err)
		}
		p, err := w.Authenticate(text)
		if err != nil {
			t.Fatal(err)
		}
		if l := p.Limits(); len(l) != 3 || l[2].ID != next.ID.String() || l[2].DailyBytes != 5 {
			t.Errorf("limits %+v", l)
		}
		if _, err := w.Tenants().Disable(t.Context(), w.op, "new"); err != nil {
			t.Fatal(err)
		}
		w.expect(text, ErrTenantInactive)
	})
}

func TestOnlyWhoOwnsBothEndsMovesATenant(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		_, token := f.person("cora", f.child.ID, permission.RootAdmin)
		cora := f.session(token)
		move := func(by Principal, name, parent string, want error) {
			t.Helper()
			_, err := f.Tenants().Move(t.Context(), by, name, parent)
			wantErr(t, fmt.Sprintf("Move(%s, %s) by %s", name, parent, by.actor()), err, want)
		}
		move(f.rita, "grandchild", "foreign", ErrNotFound)
		move(f.rita, "foreign", "root", ErrNotFound)
		move(f.rita, "grandchild", "", ErrForbidden)
		move(f.rita, "root", "child", ErrForbidden)
		move(f.ann, "child", "child", ErrForbidden)
		move(f.ann, "child", "sibling", ErrNotFound)
		move(f.vic, "child", "nobody", ErrNotFound)
		move(cora, "child", "", ErrForbidden) // away from the limits of its parent
		move(cora, "child", "grandchild", ErrForbidden)
		move(f.as("child", ScopeAdmin), "child", "child", ErrForbidden)
		move(f.rita, "grandchild", "sibling", nil)
		wantErr(t, "what is no more below", cora.Can(permission.TenantsRead, f.grandchild.ID), ErrNotFound)
	})
}

// People of the old ancestors reach nothing of what was moved away, and those inside and above the new place keep what they had.
func TestMoveEndsTheReachOfOldAncestors(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		f.tenant(NewTenant{Name: "leaf", Parent: "grandchild"})
		leaf, err := f.Tenants().Show(t.Context(), f.op, "leaf")
		if err != nil {
			t.Fatal(err)
		}
		reach := func(name string, home tenant.ID, to tenant.ID) Principal {
			id, token := f.person(name, home, permission.Admin)
			f.sql(`INSERT INTO tenant_grants (user_id, tenant_id, granted_at, granted_by, rev) VALUES (?, ?, 0, 'operator', %d)`, id, to.String())
			return f.session(token)
		}
		timed := func(name string, home tenant.ID) Principal {
			id, token := f.person(name, home, permission.Viewer)
			f.sql(`INSERT INTO access_requests (id, user_id, user_email, tenant_id, note, role, permissions, seconds, status, requested_at, expires_at, rev)
				VALUES (?, ?, '', ?, '', '', 'keys.manage', 3600, 'active', 0, ?, %d)`, "A"+id, id, f.grandchild.ID.String(), f.clock.Now().UnixMilli()+3600_000)
			return f.session(token)
		}
		fromChild := reach("org", f.child.ID, f.grandchild.ID)
		deeper := reach("org2", f.child.ID, leaf.ID)
		inside := reach("in", f.grandchild.ID, leaf.ID)
		above := reach("top", f.root.ID, f.grandchild.ID)
		was, stays := timed("staff", f.child.ID), timed("staff2", f.root.ID)
		can := func(who string, p Principal, at tenant.ID, want error) {
			t.Helper()
			wantErr(t, who, p.Can(permission.KeysManage, at), want)
		}
		for _, p := range []Principal{fromChild, above, was, stays} {
			can("before", p, f.grandchild.ID, nil)
		}
		if _, err := f.Tenants().Move(t.Context(), f.rita, "grandchild", "sibling"); err != nil {
			t.Fatal(err)
		}
		can("granted from the old parent", fromChild, f.grandchild.ID, ErrNotFound)
		can("granted from the old parent, deeper", deeper, leaf.ID, ErrNotFound)
		can("with access from the old parent", was, f.grandchild.ID, ErrNotFound)
		can("granted inside", inside, leaf.ID, nil)
		can("granted from above", above, f.grandchild.ID, nil)
		can("with access from above", stays, f.grandchild.ID, nil)
	})
}
