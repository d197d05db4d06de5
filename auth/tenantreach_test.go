package auth

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// family is a tree with somebody of each kind in it.
type family struct {
	*world
	root, child, grandchild, sibling, foreign Tenant
	rita, ann, vic                            Principal // root admin of root, admin and viewer of child
}

func newFamily(t *testing.T) *family {
	w := newWorld(t)
	f := &family{world: w}
	f.root = w.tenant(NewTenant{Name: "root"})
	f.child = w.tenant(NewTenant{Name: "child", Parent: "root"})
	f.grandchild = w.tenant(NewTenant{Name: "grandchild", Parent: "child"})
	f.sibling = w.tenant(NewTenant{Name: "sibling", Parent: "root"})
	f.foreign = w.tenant(NewTenant{Name: "foreign"})
	as := func(name string, home tenant.ID, role string) Principal {
		_, token := w.person(name, home, role)
		return w.session(token)
	}
	f.rita = as("rita", f.root.ID, permission.RootAdmin)
	f.ann, f.vic = as("ann", f.child.ID, permission.Admin), as("vic", f.child.ID, permission.Viewer)
	return f
}

func TestUsersChangeWhatTheirPermissionsSay(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx, ts := t.Context(), f.Tenants()
		set := func(by Principal, ref string, p Patch, want error) {
			t.Helper()
			_, err := ts.Set(ctx, by, ref, p)
			wantErr(t, fmt.Sprintf("Set(%s, %+v) by %s", ref, p, by.actor()), err, want)
		}
		own := map[string]Patch{
			"slug": {Slug: ptr("ours")}, "owner": {Owner: ptr("boss@example.com")}, "retention": {RetentionDays: ptr(9)},
			"resends": {KeepResends: ptr(true)}, "policy": {AtLimit: ptr(tenant.Drop)}, "nothing": {},
		}
		above := map[string]Patch{
			"bytes": {DailyBytes: ptr(int64(1))}, "unlimited": {Unlimited: true}, "bounds": {Bounds: &[]tenant.Bound{}},
			"zone": {TimeZone: ptr("Europe/Berlin")}, "plan": {PlanID: ptr("gold")}, "edition": {EditionID: ptr("x")},
			"subscription": {SubscriptionID: ptr("x")}, "users": {MaxUsers: ptr(ptr(int64(4)))}, "keys": {MaxKeys: ptr[*int64](nil)},
			"beyond the limit": {AtLimit: ptr(tenant.Bill)}, "with a setting": {Owner: ptr(""), PlanID: ptr("x")},
		}
		for _, p := range own {
			set(f.ann, "child", p, nil)
			set(f.rita, "child", p, nil)
			set(f.vic, "child", p, ErrForbidden)
			if p.Slug == nil {
				set(f.rita, "root", p, nil)
			}
			for _, other := range []string{"root", "grandchild", "sibling", "foreign", "nobody"} {
				set(f.ann, other, p, ErrNotFound)
			}
			set(f.rita, "foreign", p, ErrNotFound)
		}
		for _, p := range above {
			set(f.ann, "child", p, ErrForbidden)
			set(f.ann, "sibling", p, ErrNotFound)
			set(f.rita, "child", p, nil)
			set(f.rita, "grandchild", p, nil)
			set(f.rita, "root", p, ErrForbidden) // no tenant raises its own limits
			set(f.op, "root", p, nil)
		}
		for _, turn := range []func(by Principal, ref string) error{
			func(by Principal, ref string) error { _, err := ts.Disable(ctx, by, ref); return err },
			func(by Principal, ref string) error { _, err := ts.Enable(ctx, by, ref); return err },
		} {
			wantErr(t, "turn the own tenant", turn(f.ann, "child"), ErrForbidden)
			wantErr(t, "turn the own tenant", turn(f.rita, "root"), ErrForbidden)
			wantErr(t, "turn one out of reach", turn(f.ann, "sibling"), ErrNotFound)
			wantErr(t, "turn one below", turn(f.rita, "sibling"), nil)
		}
	})
}

func TestAccessThatATenantGivesRaisesNoLimits(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		staffID, token := f.person("staff", f.root.ID, permission.Viewer)
		f.sql(`INSERT INTO access_requests (id, user_id, user_email, tenant_id, note, role, permissions, seconds, status, requested_at, expires_at, rev)
			VALUES ('A', ?, '', ?, '', '', ?, 3600, 'active', 0, ?, %d)`, staffID, f.child.ID.String(), permission.Everything.String(), f.clock.Now().UnixMilli()+3600_000)
		staff := f.session(token)
		_, err := f.Tenants().Set(t.Context(), staff, "child", Patch{Owner: ptr("a@example.com")})
		wantErr(t, "a setting", err, nil)
		_, err = f.Tenants().Set(t.Context(), staff, "child", Patch{Unlimited: true})
		wantErr(t, "a limit", err, ErrForbidden)
		_, err = f.Tenants().Disable(t.Context(), staff, "child")
		wantErr(t, "disable", err, ErrForbidden)
		_, _, err = f.Keys().Create(t.Context(), staff, NewKey{Tenant: "child", Scopes: []KeyScope{ScopeIngest}})
		wantErr(t, "a key that outlives the access", err, ErrForbidden)
	})
}

func TestChildrenAreMadeByWhoMayInTheParent(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		make := func(by Principal, n NewTenant, want error) {
			t.Helper()
			made, err := f.Tenants().Create(t.Context(), by, n)
			wantErr(t, fmt.Sprintf("Create(%+v) by %s", n, by.actor()), err, want)
			if (err != nil) != made.ID.IsZero() {
				t.Errorf("Create = %+v, %v", made, err)
			}
		}
		make(f.rita, NewTenant{Name: "a", Parent: "root"}, nil)
		make(f.rita, NewTenant{Name: "b", Parent: "grandchild", DailyBytes: ptr(int64(3))}, nil)
		make(f.rita, NewTenant{Name: "c"}, ErrForbidden)
		make(f.rita, NewTenant{Name: "c", Parent: "foreign"}, ErrNotFound)
		make(f.rita, NewTenant{Name: "c", Parent: "nobody"}, ErrNotFound)
		make(f.ann, NewTenant{Name: "c", Parent: "child"}, ErrForbidden)
		make(f.ann, NewTenant{Name: "c", Parent: "grandchild"}, ErrNotFound)

		f.sql(`INSERT INTO roles (id, tenant_id, name, permissions, created_at, changed_at, rev) VALUES ('R', ?, 'maker', 'tenants.create tenants.read', 0, 0, %d)`, f.child.ID.String())
		_, token := f.person("max", f.child.ID, "R")
		make(f.session(token), NewTenant{Name: "d", Parent: "child"}, nil)
		make(f.session(token), NewTenant{Name: "e", Parent: "child", TenantDetails: TenantDetails{MaxKeys: ptr(int64(1))}}, ErrForbidden)
		make(f.session(token), NewTenant{Name: "e", Parent: "child", AtLimit: tenant.Bill}, ErrForbidden)
	})
}

// Lists hold what may be seen, also where more tenants are in reach than one statement names.
func TestListsAreOfTheCallersReach(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		names := func(by Principal, l ListTenants) (out []string) {
			t.Helper()
			for {
				page, next, err := f.Tenants().List(t.Context(), by, l)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range page {
					out = append(out, x.Name)
				}
				if l.After = next; next == "" {
					return out
				}
			}
		}
		if got, want := names(f.rita, ListTenants{Limit: 2}), []string{"child", "grandchild", "root", "sibling"}; !reflect.DeepEqual(got, want) {
			t.Errorf("root admin lists %v, want %v", got, want)
		}
		if got, want := names(f.ann, ListTenants{}), []string{"child"}; !reflect.DeepEqual(got, want) {
			t.Errorf("admin lists %v, want %v", got, want)
		}
		_, _, err := f.Tenants().List(t.Context(), f.vic, ListTenants{})
		wantErr(t, "List without tenants.read", err, ErrForbidden)
		_, _, err = f.Keys().List(t.Context(), f.vic, "", "", 0)
		wantErr(t, "keys without keys.manage", err, ErrForbidden)
		_, _, err = f.Audit(t.Context(), f.vic, AuditFilter{})
		wantErr(t, "audit without audit.read", err, ErrForbidden)

		var want []string
		for i := range fewTenants + 5 {
			name := fmt.Sprintf("m%04d", i)
			f.tenant(NewTenant{Name: name, Parent: "sibling", TenantDetails: TenantDetails{Owner: "Owner@Many.example"}})
			want = append(want, name)
			if i%50 == 0 {
				f.key(NewKey{Tenant: name})
				f.key(NewKey{Tenant: "foreign"})
			}
		}
		if got := names(f.rita, ListTenants{Search: "many.EX", Limit: 100}); !reflect.DeepEqual(got, want) {
			t.Errorf("the root admin finds %d by owner: %v", len(got), got)
		}
		keys, _, err := f.Keys().List(t.Context(), f.rita, "", "", 4)
		if err != nil || len(keys) != 4 {
			t.Errorf("keys %+v, %v", keys, err)
		}
		for _, k := range keys {
			if k.Tenant == f.foreign.ID {
				t.Error("a foreign key is listed")
			}
		}
		entries, _, err := f.Audit(t.Context(), f.rita, AuditFilter{Limit: 1000})
		if err != nil || len(entries) < len(want) {
			t.Errorf("%d entries, %v", len(entries), err)
		}
		for _, e := range entries {
			if e.Tenant == f.foreign.ID || e.Tenant.IsZero() {
				t.Errorf("the audit shows %+v", e)
			}
		}
	})
}

// What users of a tenant ask about others is answered, letter by letter, like what does not exist.
func TestOutOfUsersReachIsAnsweredLikeMissing(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		for name, ask := range asks(f.world, f.ann) {
			missing := ask("nobody", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			wantErr(t, name+" of nobody", missing, ErrNotFound)
			for _, other := range []string{"root", "grandchild", "sibling", "foreign"} {
				k, text := f.key(NewKey{Tenant: other})
				err := ask(other, k.ID)
				told := strings.NewReplacer(other, "nobody", k.ID, "01ARZ3NDEKTSV4RRFFQ69G5FAV").Replace(err.Error())
				if told != missing.Error() {
					t.Errorf("%s of %s: %q and %q tell apart what exists", name, other, err, missing)
				}
				f.expect(text, nil)
			}
		}
		for name, ask := range asks(f.world, f.vic) {
			k, text := f.key(NewKey{Tenant: "child"})
			wantErr(t, name+" by a viewer", ask("child", k.ID), ErrForbidden)
			f.expect(text, nil)
		}
	})
}

func TestBoundsOfTenantsFieldsAreExact(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "taken", TenantDetails: TenantDetails{Slug: "sign-in"}})
		try := func(d TenantDetails, want error) {
			t.Helper()
			_, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "x", TenantDetails: d})
			wantErr(t, fmt.Sprintf("Create(%+v)", d), err, want)
			if err == nil {
				for _, do := range []func() error{
					func() error { _, err := w.Tenants().Disable(t.Context(), w.op, "x"); return err },
					func() error { _, err := w.Tenants().BeginDelete(t.Context(), w.op, "x", "x"); return err },
					func() error { return w.Tenants().FinishDelete(t.Context(), w.op, "x") },
				} {
					if err := do(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for _, slug := range []string{"-a", "a b", "а", strings.Repeat("x", 65), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a\x00"} {
			try(TenantDetails{Slug: slug}, ErrInvalid)
		}
		try(TenantDetails{Slug: "SIGN-in"}, ErrSlugTaken)
		try(TenantDetails{Slug: strings.Repeat("x", 64)}, nil)
		for _, owner := range []string{"nobody", "a@b", "a b@example.com", "a@exаmple.com", "a@example.com\r\nBcc: b@example.com", strings.Repeat("x", 250) + "@example.com"} {
			try(TenantDetails{Owner: owner}, ErrInvalid)
		}
		try(TenantDetails{Owner: "Boss@Example.com"}, nil)
		long := strings.Repeat("x", 128)
		for _, text := range []string{long + "x", " a", "a\n", "é", "a\x7f"} {
			try(TenantDetails{PlanID: text}, ErrInvalid)
			try(TenantDetails{EditionID: text}, ErrInvalid)
			try(TenantDetails{SubscriptionID: text}, ErrInvalid)
		}
		try(TenantDetails{PlanID: long, EditionID: "a b", SubscriptionID: "sub_1"}, nil)
		for _, n := range []int64{-1, 1_000_000_001} {
			try(TenantDetails{MaxUsers: &n}, ErrInvalid)
			try(TenantDetails{MaxKeys: &n}, ErrInvalid)
		}
		try(TenantDetails{MaxUsers: ptr(int64(0)), MaxKeys: ptr(int64(1_000_000_000))}, nil)
		try(TenantDetails{SecondFactor: "Required"}, ErrInvalid)
		_, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: "sign-in"})
		wantErr(t, "a name that is another's slug", err, ErrSlugTaken)
		w.tenant(NewTenant{Name: "sign-in", TenantDetails: TenantDetails{Slug: "other"}})
	})
}

func TestVisitsAreAuditedInBothTenants(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx := t.Context()
		k, _ := f.key(NewKey{Tenant: "child"})
		for _, visit := range []func() error{
			func() error { _, err := f.Tenants().Show(ctx, f.rita, "child"); return err },
			func() error { _, err := f.Tenants().Domains(ctx, f.rita, "child"); return err },
			func() error { _, _, err := f.Keys().List(ctx, f.rita, "child", "", 0); return err },
			func() error { _, err := f.Keys().Show(ctx, f.rita, k.ID); return err },
			func() error { _, err := f.Tenants().Show(ctx, f.ann, "child"); return err }, // at home
		} {
			if err := visit(); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"child", "root"} {
			entries, _, err := f.Audit(ctx, f.op, AuditFilter{Tenant: name})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				if strings.HasPrefix(e.Actor, "user:") {
					got = append(got, e.Action)
				}
			}
			if want := []string{"key.show", "key.list", "tenant.domain.list", "tenant.read"}; !reflect.DeepEqual(got, want) {
				t.Errorf("the audit of %s has %v, want %v", name, got, want)
			}
		}
	})
}
