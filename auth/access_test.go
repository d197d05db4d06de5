package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// asylum is a tenant with staff who ask, and one below with people who decide.
type asylum struct {
	*world
	root, child, foreign Tenant
	sam                  Principal // viewer of root
	ann, bob             Principal // admins of child
	rita                 Principal // root admin of root
	vic                  Principal // viewer of child
}

func newAsylum(t *testing.T) *asylum {
	w := newWorld(t)
	a := &asylum{world: w, root: w.tenant(NewTenant{Name: "root"}), foreign: w.tenant(NewTenant{Name: "foreign"})}
	a.child = w.tenant(NewTenant{Name: "child", Parent: "root"})
	_, a.sam = w.signedIn("sam", a.root, permission.Viewer)
	_, a.rita = w.signedIn("rita", a.root, permission.RootAdmin)
	_, a.ann = w.signedIn("ann", a.child, permission.Admin)
	_, a.bob = w.signedIn("bob", a.child, permission.Admin)
	_, a.vic = w.signedIn("vic", a.child, permission.Viewer)
	return a
}

func (a *asylum) ask(by Principal, preset string, ps ...permission.Permission) AccessRequest {
	a.t.Helper()
	r, err := a.Access().Request(a.t.Context(), by, NewAccess{Tenant: "child", Note: "look into it", Permissions: permission.Of(ps...).List(), Expiry: Expiry{Preset: preset}})
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// is fails unless the request has the status, shown and listed alike.
func (a *asylum) is(id string, want AccessStatus) AccessRequest {
	a.t.Helper()
	r, err := a.Access().Show(a.t.Context(), a.ann, id)
	if err != nil || r.Status != want {
		a.t.Errorf("request is %s, %v, want %s", r.Status, err, want)
	}
	for _, status := range []AccessStatus{AccessPending, AccessActive, AccessExpired, AccessRejected, AccessRevoked} {
		list, _, err := a.Access().List(a.t.Context(), a.ann, ListAccess{Status: status})
		there := slices.ContainsFunc(list, func(l AccessRequest) bool { return l.ID == id && l.Status == status })
		if err != nil || there != (status == want) {
			a.t.Errorf("a request that is %s is listed as %s: %v, %v", want, status, there, err)
		}
	}
	return r
}

func TestAccessEndsToTheMillisecondOnLiveSessions(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		r := a.ask(a.sam, "1h", permission.AuditRead, permission.QueriesRun)
		a.is(r.ID, AccessPending)
		wantErr(t, "pending", a.sam.Can(permission.AuditRead, a.child.ID), ErrNotFound)
		a.clock.Add(time.Minute)
		r, err := s.Approve(ctx, a.ann, r.ID)
		if err != nil || r.Status != AccessActive || !r.ExpiresAt.Equal(a.clock.Now().Add(time.Hour)) || r.DecidedBy != "user:"+a.ann.User() {
			t.Fatalf("Approve = %+v, %v", r, err)
		}
		a.is(r.ID, AccessActive)
		wantErr(t, "active", a.sam.Can(permission.AuditRead, a.child.ID), nil)
		wantErr(t, "what was not asked for", a.sam.Can(permission.UsersRead, a.child.ID), ErrForbidden)
		a.clock.Add(time.Hour - time.Millisecond)
		a.is(r.ID, AccessActive)
		wantErr(t, "to the last", a.sam.Can(permission.AuditRead, a.child.ID), nil)
		a.clock.Add(time.Millisecond)
		a.is(r.ID, AccessExpired)
		wantErr(t, "over", a.sam.Can(permission.AuditRead, a.child.ID), ErrNotFound)
		for name, call := range map[string]func() error{
			"approve": func() error { _, err := s.Approve(ctx, a.bob, r.ID); return err },
			"reject":  func() error { _, err := s.Reject(ctx, a.bob, r.ID); return err },
			"revoke":  func() error { _, err := s.Revoke(ctx, a.bob, r.ID); return err },
			"extend":  func() error { _, err := s.Extend(ctx, a.bob, r.ID, Expiry{Preset: "1h"}); return err },
		} {
			wantErr(t, name+" what has ended", call(), ErrState)
		}

		// The sweep writes it down once, under both tenants, and leaves what has not ended.
		goesOn := a.ask(a.vic, "1h", permission.AuditRead)
		if _, err := s.Approve(ctx, a.ann, goesOn.ID); err != nil {
			t.Fatal(err)
		}
		a.clock.Add(time.Second)
		for range 2 {
			if err := a.sweepAccess(ctx); err != nil {
				t.Fatal(err)
			}
		}
		a.is(r.ID, AccessExpired)
		a.is(goesOn.ID, AccessActive)
		for _, at := range []Tenant{a.root, a.child} {
			entries, _, err := a.Audit(ctx, a.op, AuditFilter{Tenant: at.Name})
			var got []string
			for _, e := range entries {
				if e.Target == r.ID {
					got = append(got, e.Actor+" "+e.Action)
				}
			}
			want := []string{"system access.expire", "user:U-ann access.approve", "user:U-sam access.request"}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("audit of %s: %q, %v, want %q", at.Name, got, err, want)
			}
		}
		if n := len(a.people.access["U-sam"]); n != 0 {
			t.Errorf("%d ended accesses are in memory", n)
		}
	})
}

func TestWhoApprovesIsAnotherAndHasWhatIsAskedFor(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		r := a.ask(a.sam, "1h", permission.AuditRead)
		beyond := a.ask(a.sam, "1h", permission.TenantsDelete)
		telemetry := a.ask(a.sam, "1h", permission.QueriesRun)
		own := a.ask(a.ann, "1h", permission.AuditRead)
		key := a.as("child", ScopeAdmin, ScopeUsage, ScopeQuery)
		_, foreign := a.signedIn("fay", a.foreign, permission.RootAdmin)
		_, peer := a.signedIn("pat", a.root, permission.Admin) // of the requester's tenant, without a way into child
		// Tim has all that is asked for, but for a time only.
		timID, tim := a.signedIn("tim", a.root, permission.Viewer)
		admin, _ := permission.OfRole(permission.Admin)
		a.giveAccess(timID, a.child, admin, time.Hour)
		for _, c := range []struct {
			name string
			by   Principal
			id   string
			want error
		}{
			{"the requester", a.sam, r.ID, ErrForbidden},
			{"the requester, who may approve others'", a.ann, own.ID, ErrForbidden},
			{"without access.approve", a.vic, r.ID, ErrForbidden},
			{"more than one has", a.ann, beyond.ID, ErrForbidden},
			{"an API key", key, r.ID, ErrForbidden},
			{"telemetry, by the operator", a.op, telemetry.ID, ErrForbidden},
			{"by time-limited access", tim, r.ID, ErrForbidden},
			{"out of reach", foreign, r.ID, ErrNotFound},
			{"of the requester's tenant", peer, r.ID, ErrNotFound},
			{"nobody", Principal{}, r.ID, ErrNoCredential},
			{"what there is not", a.ann, "01ARZ3NDEKTSV4RRFFQ69G5FAV", ErrNotFound},
		} {
			_, err := s.Approve(ctx, c.by, c.id)
			wantErr(t, c.name, err, c.want)
		}
		for _, id := range []string{r.ID, beyond.ID, telemetry.ID, own.ID} {
			a.is(id, AccessPending)
		}
		for _, c := range []struct {
			name string
			by   Principal
			id   string
		}{
			{"an admin there", a.ann, r.ID}, {"a root admin above", a.rita, beyond.ID}, {"another admin", a.bob, own.ID}, {"who reads it", a.bob, telemetry.ID},
		} {
			_, err := s.Approve(ctx, c.by, c.id)
			wantErr(t, c.name, err, nil)
			_, err = s.Extend(ctx, a.sam, c.id, Expiry{Preset: "1h"})
			if err == nil {
				t.Errorf("%s: the requester extends", c.name)
			}
		}
		_, err := s.Extend(ctx, a.ann, beyond.ID, Expiry{Preset: "1h"})
		wantErr(t, "extend more than one has", err, ErrForbidden)
		_, err = s.Extend(ctx, tim, r.ID, Expiry{Preset: "1h"})
		wantErr(t, "extend by time-limited access", err, ErrForbidden)
	})
}

func TestOfTwoWhoDecideAtOnceOneWins(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s := a.Access()
		for range 5 {
			r := a.ask(a.sam, "1h", permission.AuditRead)
			calls := []func() (AccessRequest, error){
				func() (AccessRequest, error) { return s.Approve(t.Context(), a.ann, r.ID) },
				func() (AccessRequest, error) { return s.Approve(t.Context(), a.bob, r.ID) },
				func() (AccessRequest, error) { return s.Reject(t.Context(), a.bob, r.ID) },
				func() (AccessRequest, error) { return s.Reject(t.Context(), a.rita, r.ID) },
			}
			var all sync.WaitGroup
			var mu sync.Mutex
			var won []AccessRequest
			for _, call := range calls {
				all.Go(func() {
					got, err := call()
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won = append(won, got)
					} else if !errors.Is(err, ErrState) {
						t.Errorf("the loser is told %v", err)
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("%d win", len(won))
			}
			if now := a.is(r.ID, won[0].Status); now.DecidedBy != won[0].DecidedBy {
				t.Errorf("decided by %s, told %s", now.DecidedBy, won[0].DecidedBy)
			}
		}
	})
}

func TestStatesOfAccessAreLeftOnTheirOwnWaysOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		extend := func(by Principal, id string) (AccessRequest, error) {
			return s.Extend(ctx, by, id, Expiry{Preset: "8h"})
		}
		reject := func(by Principal, id string) (AccessRequest, error) { return s.Reject(ctx, by, id) }
		revoke := func(by Principal, id string) (AccessRequest, error) { return s.Revoke(ctx, by, id) }
		approve := func(by Principal, id string) (AccessRequest, error) { return s.Approve(ctx, by, id) }
		type step = func(Principal, string) (AccessRequest, error)
		for name, c := range map[string]struct {
			reach   []step
			status  AccessStatus
			refused []step
		}{
			"pending":  {nil, AccessPending, []step{extend}},
			"active":   {[]step{approve}, AccessActive, []step{approve, reject}},
			"rejected": {[]step{reject}, AccessRejected, []step{approve, reject, revoke, extend}},
			"revoked":  {[]step{approve, revoke}, AccessRevoked, []step{approve, reject, revoke, extend}},
			"taken":    {[]step{revoke}, AccessRevoked, []step{approve, reject, revoke, extend}},
		} {
			r := a.ask(a.sam, "1h", permission.AuditRead)
			for _, do := range c.reach {
				if _, err := do(a.ann, r.ID); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for i, do := range c.refused {
				_, err := do(a.bob, r.ID)
				wantErr(t, name+" refuses "+string(rune('0'+i)), err, ErrState)
			}
			a.is(r.ID, c.status)
			if got := a.sam.Can(permission.AuditRead, a.child.ID) == nil; got != (c.status == AccessActive) {
				t.Errorf("%s: in force: %v", name, got)
			}
			again, err := s.Clone(ctx, a.sam, r.ID, Expiry{})
			if err != nil || again.ID == r.ID || again.Status != AccessPending || again.Permissions != r.Permissions || again.Note != r.Note || again.For != r.For {
				t.Errorf("clone of what is %s: %+v, %v", name, again, err)
			}
			// The requester takes back what waits, and gives up what they have.
			_, err = s.Reject(ctx, a.sam, again.ID)
			wantErr(t, "reject one's own", err, ErrForbidden)
			_, err = s.Revoke(ctx, a.sam, again.ID)
			wantErr(t, "withdraw", err, nil)
			if c.status == AccessActive {
				_, err = s.Revoke(ctx, a.sam, r.ID)
				wantErr(t, "give up", err, nil)
			}
		}
	})
}

func TestAccessIsExtendedToALaterEndWithinNinetyDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		r := a.ask(a.sam, "30d", permission.AuditRead)
		r, err := s.Approve(ctx, a.ann, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		at := func(d time.Duration) Expiry { return Expiry{At: ptr(a.clock.Now().Add(d))} }
		for _, c := range []struct {
			name string
			e    Expiry
			want error
		}{
			{"an earlier end", at(time.Hour), ErrInvalid},
			{"the same end", at(30 * 24 * time.Hour), ErrInvalid},
			{"beyond ninety days", at(MaxAccess + time.Second), ErrInvalid},
			{"nothing", Expiry{}, ErrInvalid},
			{"both", Expiry{Preset: "1h", At: ptr(a.clock.Now().Add(MaxAccess))}, ErrInvalid},
			{"no preset", Expiry{Preset: "2h"}, ErrInvalid},
			{"a preset", Expiry{Preset: "1d"}, nil},
			{"a time", at(MaxAccess), nil},
			{"a preset beyond ninety days", Expiry{Preset: "1h"}, ErrInvalid},
		} {
			_, err := s.Extend(ctx, a.ann, r.ID, c.e)
			wantErr(t, c.name, err, c.want)
		}
		if r = a.is(r.ID, AccessActive); !r.ExpiresAt.Equal(a.clock.Now().Add(MaxAccess)) {
			t.Errorf("ends at %v", r.ExpiresAt)
		}
		a.clock.Add(31 * 24 * time.Hour)
		_, err = a.people.users["U-sam"], nil
		if err != nil || a.sam.Can(permission.AuditRead, a.child.ID) != nil {
			t.Error("an extension is not in force")
		}
	})
}

func TestAccessIsAskedForWithinTheOwnTree(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		support := a.customRole("root", "support", permission.AuditRead, permission.UsersRead)
		a.customRole("child", "theirs", permission.AuditRead)
		_, nobody := a.signedIn("nora", a.root, permission.NoAccess)
		good := NewAccess{Tenant: "child", Permissions: []string{"audit.read"}, Expiry: Expiry{Preset: "1h"}}
		with := func(change func(n *NewAccess)) NewAccess { n := good; change(&n); return n }
		for _, c := range []struct {
			name string
			by   Principal
			n    NewAccess
			want error
		}{
			{"below", a.sam, good, nil},
			{"by id", a.sam, with(func(n *NewAccess) { n.Tenant = a.child.ID.String() }), nil},
			{"the own tenant", a.sam, with(func(n *NewAccess) { n.Tenant = "ROOT" }), nil},
			{"above", a.vic, with(func(n *NewAccess) { n.Tenant = "root" }), ErrNotFound},
			{"foreign", a.sam, with(func(n *NewAccess) { n.Tenant = "foreign" }), ErrNotFound},
			{"foreign, of a root admin", a.rita, with(func(n *NewAccess) { n.Tenant = "foreign" }), ErrNotFound},
			{"none", a.sam, with(func(n *NewAccess) { n.Tenant = "" }), ErrNotFound},
			{"without access.request", nobody, good, ErrForbidden},
			{"by the operator", a.op, good, ErrForbidden},
			{"by a key", a.as("root", ScopeAdmin), good, ErrForbidden},
			{"a role of one's own tenant", a.sam, with(func(n *NewAccess) { n.Permissions, n.Role = nil, "Support" }), nil},
			{"a built-in role", a.sam, with(func(n *NewAccess) { n.Permissions, n.Role = nil, "editor" }), nil},
			{"a role of theirs", a.sam, with(func(n *NewAccess) { n.Permissions, n.Role = nil, "theirs" }), ErrNotFound},
			{"a role without permissions", a.sam, with(func(n *NewAccess) { n.Permissions, n.Role = nil, "no-access" }), ErrInvalid},
			{"a role and permissions", a.sam, with(func(n *NewAccess) { n.Role = "viewer" }), ErrInvalid},
			{"neither", a.sam, with(func(n *NewAccess) { n.Permissions = nil }), ErrInvalid},
			{"an unknown permission", a.sam, with(func(n *NewAccess) { n.Permissions = []string{"audit.burn"} }), ErrInvalid},
			{"no end", a.sam, with(func(n *NewAccess) { n.Expiry = Expiry{} }), ErrInvalid},
			{"two ends", a.sam, with(func(n *NewAccess) { n.At = ptr(a.clock.Now().Add(time.Hour)) }), ErrInvalid},
			{"a preset that there is not", a.sam, with(func(n *NewAccess) { n.Preset = "2h" }), ErrInvalid},
			{"an end that has passed", a.sam, with(func(n *NewAccess) { n.Expiry = Expiry{At: ptr(a.clock.Now())} }), ErrInvalid},
			{"ninety days", a.sam, with(func(n *NewAccess) { n.Expiry = Expiry{At: ptr(a.clock.Now().Add(MaxAccess))} }), nil},
			{"more than ninety days", a.sam, with(func(n *NewAccess) { n.Expiry = Expiry{At: ptr(a.clock.Now().Add(MaxAccess + time.Second))} }), ErrInvalid},
			{"a long note", a.sam, with(func(n *NewAccess) { n.Note = strings.Repeat("x", 1001) }), ErrInvalid},
			{"a note that is no text", a.sam, with(func(n *NewAccess) { n.Note = "a\x00" }), ErrInvalid},
		} {
			_, err := s.Request(ctx, c.by, c.n)
			wantErr(t, c.name, err, c.want)
		}
		// What is asked for is what the role was then.
		r, err := s.Request(ctx, a.sam, with(func(n *NewAccess) { n.Permissions, n.Role = nil, support.ID }))
		if err != nil || r.Role != "support" {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, err := a.Roles().Set(ctx, a.op, support.ID, RolePatch{Permissions: &[]string{"users.manage"}}); err != nil {
			t.Fatal(err)
		}
		if r, err = s.Approve(ctx, a.ann, r.ID); err != nil || r.Permissions != permission.Of(permission.AuditRead, permission.UsersRead) {
			t.Errorf("approved %v, %v", r.Permissions, err)
		}
		wantErr(t, "by a later change of the role", a.sam.Can(permission.UsersManage, a.child.ID), ErrForbidden)
		if c, err := s.Clone(ctx, a.sam, r.ID, Expiry{Preset: "8h"}); err != nil || c.Role != "" || c.Permissions != r.Permissions || c.For != 8*time.Hour {
			t.Errorf("clone of what the role was: %+v, %v", c, err)
		}
		_, err = s.Clone(ctx, a.ann, r.ID, Expiry{})
		wantErr(t, "clone by who sees it", err, nil)
		_, err = s.Clone(ctx, a.vic, r.ID, Expiry{})
		wantErr(t, "clone by who does not", err, ErrForbidden)
	})
}

func TestOnlyAHundredRequestsOfAUserWait(t *testing.T) {
	a := newAsylum(t)
	for range maxPendingAccess {
		a.ask(a.sam, "1h", permission.AuditRead)
	}
	_, err := a.Access().Request(t.Context(), a.sam, NewAccess{Tenant: "child", Permissions: []string{"audit.read"}, Expiry: Expiry{Preset: "1h"}})
	wantErr(t, "one more", err, ErrState)
	a.ask(a.rita, "1h", permission.AuditRead)
}

func TestAccessToWhatIsNotThereAnyMoreIsNotApproved(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		late, err := s.Request(ctx, a.sam, NewAccess{Tenant: "child", Permissions: []string{"audit.read"}, Expiry: Expiry{At: ptr(a.clock.Now().Add(time.Hour))}})
		if err != nil {
			t.Fatal(err)
		}
		r := a.ask(a.sam, "1h", permission.AuditRead)
		a.clock.Add(time.Hour)
		_, err = s.Approve(ctx, a.ann, late.ID)
		wantErr(t, "after the end that was asked for", err, ErrState)
		_, err = s.Clone(ctx, a.sam, late.ID, Expiry{})
		wantErr(t, "clone with an end that has passed", err, ErrInvalid)
		a.sql(`UPDATE users SET status = 'inactive', rev = %d WHERE id = 'U-sam'`)
		_, err = s.Approve(ctx, a.ann, r.ID)
		wantErr(t, "for who is inactive", err, ErrState)
		a.sql(`UPDATE users SET status = 'active', rev = %d WHERE id = 'U-sam'`)
		a.sql(`UPDATE tenants SET parent_id = ?, rev = %d WHERE id = ?`, a.foreign.ID.String(), a.child.ID.String())
		_, err = s.Approve(ctx, a.ann, r.ID)
		wantErr(t, "into what is no more below", err, ErrState)
		a.sql(`UPDATE tenants SET parent_id = ?, rev = %d WHERE id = ?`, a.root.ID.String(), a.child.ID.String())
		if _, err := a.Tenants().Disable(ctx, a.op, "child"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Tenants().BeginDelete(ctx, a.op, "child", "child"); err != nil {
			t.Fatal(err)
		}
		_, err = s.Approve(ctx, a.rita, r.ID)
		wantErr(t, "into what is being deleted", err, ErrState)
		_, err = s.Request(ctx, a.sam, NewAccess{Tenant: "child", Permissions: []string{"audit.read"}, Expiry: Expiry{Preset: "1h"}})
		wantErr(t, "ask for what is being deleted", err, ErrState)
	})
}

func TestEachSeesTheRequestsThatConcernThem(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		s, ctx := a.Access(), t.Context()
		a.tenant(NewTenant{Name: "grandchild", Parent: "child"})
		r1 := a.ask(a.sam, "1h", permission.AuditRead)
		a.clock.Add(time.Second)
		r2 := a.ask(a.vic, "1h", permission.AuditRead)
		a.clock.Add(time.Second)
		r3, err := s.Request(ctx, a.ann, NewAccess{Tenant: "grandchild", Role: "viewer", Expiry: Expiry{Preset: "1h"}})
		if err != nil {
			t.Fatal(err)
		}
		_, fay := a.signedIn("fay", a.foreign, permission.RootAdmin)
		gina, ginaP := a.signedIn("gina", a.root, permission.Admin)
		if _, err := a.Grants().Put(ctx, a.rita, gina, "child"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			by   Principal
			l    ListAccess
			want []string
			err  error
		}{
			{"root admin", a.rita, ListAccess{}, []string{r3.ID, r2.ID, r1.ID}, nil},
			{"operator", a.op, ListAccess{}, []string{r3.ID, r2.ID, r1.ID}, nil},
			{"admin of child", a.bob, ListAccess{}, []string{r2.ID, r1.ID}, nil},
			{"admin of child, and requester", a.ann, ListAccess{}, []string{r3.ID, r2.ID, r1.ID}, nil},
			{"own alone", a.ann, ListAccess{Mine: true}, []string{r3.ID}, nil},
			{"own alone, of the operator", a.op, ListAccess{Mine: true}, nil, nil},
			{"granted admin", ginaP, ListAccess{}, []string{r2.ID, r1.ID}, nil},
			{"requester", a.sam, ListAccess{}, []string{r1.ID}, nil},
			{"requester, of a tenant that is not reached", a.sam, ListAccess{Tenant: "child"}, []string{r1.ID}, nil},
			{"viewer", a.vic, ListAccess{}, []string{r2.ID}, nil},
			{"key", a.as("child", ScopeAdmin), ListAccess{}, []string{r2.ID, r1.ID}, nil},
			{"elsewhere", fay, ListAccess{}, nil, nil},
			{"elsewhere, of a tenant", fay, ListAccess{Tenant: "child"}, nil, ErrNotFound},
			{"of a tenant", a.rita, ListAccess{Tenant: "grandchild"}, []string{r3.ID}, nil},
			{"search", a.rita, ListAccess{Search: "SAM@"}, []string{r1.ID}, nil},
			{"search for a wildcard", a.rita, ListAccess{Search: "%"}, nil, nil},
			{"status", a.rita, ListAccess{Status: "approved"}, nil, ErrInvalid},
		} {
			list, _, err := s.List(ctx, c.by, c.l)
			var got []string
			for _, r := range list {
				got = append(got, r.ID)
			}
			if wantErr(t, c.name, err, c.err); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
			for limit, after := 1, ""; c.err == nil; {
				page, next, err := s.List(ctx, c.by, ListAccess{Tenant: c.l.Tenant, Search: c.l.Search, Mine: c.l.Mine, After: after, Limit: limit})
				if err != nil || len(page) > limit || len(page) > 0 && page[0].ID != got[0] {
					t.Fatalf("%s: a page of %+v, %v", c.name, page, err)
				}
				if got = got[len(page):]; next == "" {
					if len(got) > 0 {
						t.Errorf("%s: no page has %v", c.name, got)
					}
					break
				}
				after = next
			}
		}
		for _, c := range []struct {
			name string
			by   Principal
			id   string
			want error
		}{
			{"own", a.sam, r1.ID, nil}, {"another's, within reach", a.vic, r1.ID, ErrForbidden}, {"another's, out of reach", a.sam, r2.ID, ErrNotFound},
			{"elsewhere", fay, r1.ID, ErrNotFound}, {"nothing", fay, "01ARZ3NDEKTSV4RRFFQ69G5FAV", ErrNotFound},
		} {
			_, err := s.Show(ctx, c.by, c.id)
			wantErr(t, c.name, err, c.want)
		}
	})
}

func TestReadsOfOtherTenantsAreAuditedUnderBoth(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		ctx := t.Context()
		r := a.ask(a.sam, "1h", permission.QueriesRun)
		if _, err := a.Access().Approve(ctx, a.ann, r.ID); err != nil {
			t.Fatal(err)
		}
		count := func(at Tenant) (n int) {
			entries, _, err := a.Audit(ctx, a.op, AuditFilter{Tenant: at.Name})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Action != "query.run" {
					continue
				}
				var d struct {
					Read struct {
						Tenant, User string
						Access       []string
					}
				}
				if err := json.Unmarshal(e.Detail, &d); err != nil || d.Read.User != "sam@example.com" || d.Read.Tenant != a.child.ID.String() ||
					!slices.Equal(d.Read.Access, []string{r.ID}) || e.Actor != "user:U-sam" || e.Target != "q" {
					t.Errorf("%s: %+v, %s, %v", at.Name, e, e.Detail, err)
				}
				if at.Name == "child" && strings.Contains(string(e.Detail), a.root.ID.String()) {
					t.Errorf("the child is told of its parent: %s", e.Detail)
				}
				n++
			}
			return n
		}
		if err := a.AuditCrossTenant(ctx, a.sam, a.root.ID, "query.run", "q"); err != nil || count(a.root) != 0 {
			t.Errorf("a read of one's own tenant is audited: %v", err)
		}
		if err := a.AuditCrossTenant(ctx, a.sam, a.child.ID, "query.run", "q"); err != nil || count(a.root) != 1 || count(a.child) != 1 {
			t.Errorf("entries: %d at home, %d there, %v", count(a.root), count(a.child), err)
		}
	})
}

// Whatever is asked about roles, teams, users and requests of somewhere else is answered, letter by letter, like what does not exist.
func TestPeopleOutOfReachAreAnsweredLikeMissing(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		a := newAsylum(t)
		ctx := t.Context()
		role := a.customRole("child", "theirs", permission.AuditRead)
		team, err := a.Teams().Create(ctx, a.op, NewTeam{Tenant: "child", Name: "theirs"})
		if err != nil {
			t.Fatal(err)
		}
		request := a.ask(a.vic, "1h", permission.AuditRead)
		const missing = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
		_, fay := a.signedIn("fay", a.foreign, permission.RootAdmin)
		_, tess := a.signedIn("tess", a.root, permission.Admin)
		tests := map[string]struct {
			there string
			ask   func(by Principal, id string) error
		}{
			"role show": {role.ID, func(by Principal, id string) error { _, err := a.Roles().Show(ctx, by, id); return err }},
			"role set": {role.ID, func(by Principal, id string) error {
				_, err := a.Roles().Set(ctx, by, id, RolePatch{Name: ptr("x")})
				return err
			}},
			"role delete": {role.ID, func(by Principal, id string) error { return a.Roles().Delete(ctx, by, id) }},
			"role list": {a.child.ID.String(), func(by Principal, id string) error {
				_, _, err := a.Roles().List(ctx, by, ListRoles{Tenant: id})
				return err
			}},
			"team show": {team.ID, func(by Principal, id string) error { _, err := a.Teams().Show(ctx, by, id); return err }},
			"team set": {team.ID, func(by Principal, id string) error {
				_, err := a.Teams().Set(ctx, by, id, TeamPatch{Name: ptr("x")})
				return err
			}},
			"team delete":  {team.ID, func(by Principal, id string) error { return a.Teams().Delete(ctx, by, id) }},
			"team members": {team.ID, func(by Principal, id string) error { _, _, err := a.Teams().Members(ctx, by, id, "", 0); return err }},
			"team add":     {team.ID, func(by Principal, id string) error { _, err := a.Teams().AddMember(ctx, by, id, by.User()); return err }},
			"team remove": {team.ID, func(by Principal, id string) error {
				_, err := a.Teams().RemoveMember(ctx, by, id, by.User())
				return err
			}},
			"team list": {a.child.ID.String(), func(by Principal, id string) error {
				_, _, err := a.Teams().List(ctx, by, ListTeams{Tenant: id})
				return err
			}},
			"teams of":     {a.vic.User(), func(by Principal, id string) error { _, err := a.Teams().OfUser(ctx, by, id); return err }},
			"grants of":    {a.vic.User(), func(by Principal, id string) error { _, err := a.Grants().List(ctx, by, id); return err }},
			"grant show":   {a.vic.User(), func(by Principal, id string) error { _, err := a.Grants().Show(ctx, by, id, "root"); return err }},
			"grant add":    {a.vic.User(), func(by Principal, id string) error { _, err := a.Grants().Put(ctx, by, id, "root"); return err }},
			"grant tenant": {a.child.ID.String(), func(by Principal, id string) error { _, err := a.Grants().Put(ctx, by, by.User(), id); return err }},
			"grant end":    {a.vic.User(), func(by Principal, id string) error { return a.Grants().Withdraw(ctx, by, id, "root") }},
			"request show": {request.ID, func(by Principal, id string) error { _, err := a.Access().Show(ctx, by, id); return err }},
			"approve":      {request.ID, func(by Principal, id string) error { _, err := a.Access().Approve(ctx, by, id); return err }},
			"reject":       {request.ID, func(by Principal, id string) error { _, err := a.Access().Reject(ctx, by, id); return err }},
			"revoke":       {request.ID, func(by Principal, id string) error { _, err := a.Access().Revoke(ctx, by, id); return err }},
			"extend": {request.ID, func(by Principal, id string) error {
				_, err := a.Access().Extend(ctx, by, id, Expiry{Preset: "1h"})
				return err
			}},
			"clone": {request.ID, func(by Principal, id string) error { _, err := a.Access().Clone(ctx, by, id, Expiry{}); return err }},
			"create a role": {a.child.ID.String(), func(by Principal, id string) error {
				_, err := a.Roles().Create(ctx, by, NewRole{Tenant: id, Name: "x"})
				return err
			}},
			"create a team": {a.child.ID.String(), func(by Principal, id string) error {
				_, err := a.Teams().Create(ctx, by, NewTeam{Tenant: id, Name: "x"})
				return err
			}},
		}
		for who, by := range map[string]Principal{"a stranger": fay, "an admin above without a grant": tess} {
			for name, c := range tests {
				there, gone := c.ask(by, c.there), c.ask(by, missing)
				if !errors.Is(there, ErrNotFound) || !errors.Is(gone, ErrNotFound) || strings.ReplaceAll(there.Error(), c.there, missing) != gone.Error() {
					t.Errorf("%s by %s: %v, of nothing: %v", name, who, there, gone)
				}
			}
		}
	})
}
