package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

const goodPassword = "correct horse battery"

// post is a Sender that keeps what it is given.
type post struct {
	got  []Message
	fail error
}

// town is a world with an outbox.
type town struct {
	*world
	box  *Outbox
	post *post
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := newWorld(t)
	p := &post{}
	return &town{w, w.NewOutbox(OutboxOptions{Sender: p}), p}
}

// deliver sends what is due, and returns the newest message.
func (w *town) deliver() Message {
	w.t.Helper()
	for {
		found, err := w.box.step(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if !found {
			break
		}
	}
	if len(w.post.got) == 0 {
		w.t.Fatal("no message was sent")
	}
	return w.post.got[len(w.post.got)-1]
}

// admin makes the first user of a tenant, and signs in.
func (w *town) admin(slug, email, role string) (User, Principal) {
	w.t.Helper()
	u, err := w.Users().Create(w.t.Context(), w.op, NewUser{Tenant: slug, Email: email, Role: role, Password: goodPassword})
	if err != nil {
		w.t.Fatal(err)
	}
	return u, w.enter(slug, email)
}

// member invites a user who accepts, and signs in.
func (w *town) member(by Principal, slug, email, role string) (User, Principal) {
	w.t.Helper()
	if _, err := w.Users().Invite(w.t.Context(), by, NewUser{Tenant: slug, Email: email, Role: role}); err != nil {
		w.t.Fatal(err)
	}
	u, err := w.Users().Accept(w.t.Context(), w.deliver().Token, "Name", goodPassword)
	if err != nil {
		w.t.Fatal(err)
	}
	return u, w.enter(slug, email)
}

func (w *town) enter(slug, email string) Principal {
	w.t.Helper()
	in, err := w.SignIn(w.t.Context(), SignIn{Slug: slug, Email: email, Password: goodPassword, Address: "192.0.2.1"})
	if err != nil {
		w.t.Fatalf("%s of %s: %v", email, slug, err)
	}
	return in.Principal
}

func (w *town) entries(by Principal, action string) (out []Entry) {
	w.t.Helper()
	all, _, err := w.Audit(w.t.Context(), by, AuditFilter{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range all {
		if e.Action == action {
			out = append(out, e)
		}
	}
	return out
}

func TestInvitedUserAcceptsOnceAndSignsIn(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		_, ann := w.admin("acme", "Ann@Example.com", permission.Admin)
		bob, err := w.Users().Invite(t.Context(), w.op, NewUser{Tenant: "acme", Email: "bob@example.com", Role: permission.Editor})
		wantErr(t, "invite", err, nil)
		if bob.Status != UserInvited {
			t.Errorf("invited user is %s", bob.Status)
		}
		_, err = w.SignIn(t.Context(), SignIn{Slug: "acme", Email: "bob@example.com", Password: ""})
		wantErr(t, "sign-in before accepting", err, ErrSignIn)
		_, err = w.Users().Invite(t.Context(), w.op, NewUser{Tenant: "acme", Email: "BOB@example.COM", Role: permission.Viewer})
		wantErr(t, "same address in another case", err, ErrEmailTaken)
		first := w.deliver()
		if first.To != "bob@example.com" || first.Kind != "invitation" || first.Tenant != "acme" || !strings.HasPrefix(first.Token, "hgi_") {
			t.Errorf("message %+v", first)
		}
		_, err = w.Users().Reinvite(t.Context(), w.op, bob.ID)
		wantErr(t, "reinvite", err, nil)
		_, err = w.Users().Accept(t.Context(), first.Token, "Bob", goodPassword)
		wantErr(t, "a token that was replaced", err, ErrToken)
		token := w.deliver().Token
		for what, bad := range map[string]string{"a short password": "short", "the address": "bob@example.com", "a long password": strings.Repeat("x", 257)} {
			_, err = w.Users().Accept(t.Context(), token, "Bob", bad)
			wantErr(t, what, err, ErrInvalid)
		}
		_, err = w.Users().Accept(t.Context(), token[:len(token)-1]+"!", "Bob", goodPassword)
		wantErr(t, "misspelt", err, ErrToken)
		_, err = w.Users().Reset(t.Context(), strings.Replace(token, "hgi_", "hgr_", 1), goodPassword)
		wantErr(t, "an invitation as a reset", err, ErrToken)
		got, err := w.Users().Accept(t.Context(), token, "Bob", goodPassword)
		wantErr(t, "accept", err, nil)
		if got.Status != UserActive || got.Name != "Bob" {
			t.Errorf("accepted %+v", got)
		}
		_, err = w.Users().Accept(t.Context(), token, "Bob", goodPassword)
		wantErr(t, "accept twice", err, ErrToken)
		if p := w.enter("ACME", "Bob@example.com"); p.User() != bob.ID || p.Can(permission.DashboardsWrite, bob.Tenant) != nil {
			t.Errorf("principal of %s", p.User())
		}
		_, err = w.Users().Invite(t.Context(), ann, NewUser{Email: "late@example.com", Role: permission.NoAccess})
		wantErr(t, "invite", err, nil)
		token = w.deliver().Token
		w.clock.Add(7 * 24 * time.Hour)
		_, err = w.Users().Accept(t.Context(), token, "", goodPassword)
		wantErr(t, "after seven days", err, ErrToken)
	})
}

func (p *post) Send(_ context.Context, m Message) error {
	if p.fail != nil {
		return p.fail
	}
	p.got = append(p.got, m)
	return nil
}

func TestNobodyGivesOrTouchesARoleBeyondTheirOwn(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "globex"})
		root, _ := w.admin("acme", "root@example.com", permission.RootAdmin)
		annUser, ann := w.admin("acme", "ann@example.com", permission.Admin)
		eve, _ := w.admin("globex", "eve@example.com", permission.Admin)
		vic, vicP := w.member(ann, "acme", "vic@example.com", permission.Viewer)
		users := w.Users()
		_, err := users.Invite(t.Context(), ann, NewUser{Email: "x@example.com", Role: permission.RootAdmin})
		wantErr(t, "invite beyond", err, ErrForbidden)
		_, err = users.Set(t.Context(), ann, vic.ID, UserPatch{Role: ptr(permission.RootAdmin)})
		wantErr(t, "promote beyond", err, ErrForbidden)
		_, err = users.Set(t.Context(), ann, annUser.ID, UserPatch{Role: ptr(permission.RootAdmin)})
		wantErr(t, "promote oneself", err, ErrForbidden)
		_, err = users.Set(t.Context(), ann, root.ID, UserPatch{Role: ptr(permission.Viewer)})
		wantErr(t, "demote from beyond", err, ErrForbidden)
		_, err = users.Deactivate(t.Context(), ann, root.ID)
		wantErr(t, "deactivate beyond", err, ErrForbidden)
		wantErr(t, "delete beyond", users.Delete(t.Context(), ann, root.ID), ErrForbidden)
		_, err = users.ResetSecondFactor(t.Context(), ann, root.ID)
		wantErr(t, "reset a second factor beyond", err, ErrForbidden)
		_, err = users.Set(t.Context(), ann, vic.ID, UserPatch{Role: ptr("nonsense")})
		wantErr(t, "unknown role", err, ErrNotFound)
		_, err = users.Create(t.Context(), ann, NewUser{Email: "x@example.com", Role: permission.Viewer, Password: goodPassword})
		wantErr(t, "create by a user", err, ErrForbidden)
		_, err = users.Invite(t.Context(), vicP, NewUser{Email: "x@example.com", Role: permission.Viewer})
		wantErr(t, "invite by a viewer", err, ErrForbidden)
		_, _, err = users.List(t.Context(), vicP, ListUsers{})
		wantErr(t, "list by a viewer", err, ErrForbidden)
		_, err = users.Invite(t.Context(), ann, NewUser{Tenant: "globex", Email: "x@example.com", Role: permission.Viewer})
		wantErr(t, "invite elsewhere", err, ErrNotFound)
		w.sql(`INSERT INTO roles (id, tenant_id, name, permissions, created_at, changed_at, rev) VALUES ('R', ?, 'theirs', 'users.read', 0, 0, %d)`, eve.Tenant.String())
		_, err = users.Set(t.Context(), ann, vic.ID, UserPatch{Role: ptr("R")})
		wantErr(t, "another tenant's role", err, ErrNotFound)
		for what, call := range map[string]func(id string) error{
			"show": func(id string) error { _, err := users.Show(t.Context(), ann, id); return err },
			"set": func(id string) error {
				_, err := users.Set(t.Context(), ann, id, UserPatch{Name: ptr("x")})
				return err
			},
			"deactivate": func(id string) error { _, err := users.Deactivate(t.Context(), ann, id); return err },
			"activate":   func(id string) error { _, err := users.Activate(t.Context(), ann, id); return err },
			"delete":     func(id string) error { return users.Delete(t.Context(), ann, id) },
			"reinvite":   func(id string) error { _, err := users.Reinvite(t.Context(), ann, id); return err },
			"revoke":     func(id string) error { _, err := users.RevokeInvitation(t.Context(), ann, id); return err },
			"reset":      func(id string) error { _, err := users.ResetSecondFactor(t.Context(), ann, id); return err },
		} {
			foreign, missing := call(eve.ID), call("01J00000000000000000000000")
			wantErr(t, what+" of another tenant's user", foreign, ErrNotFound)
			if strings.ReplaceAll(foreign.Error(), eve.ID, "01J00000000000000000000000") != missing.Error() {
				t.Errorf("%s: %v and %v differ", what, foreign, missing)
			}
		}
		if len(w.entries(ann, "user.create")) == 0 {
			t.Error("a refused creation is not audited")
		}
		if refused := w.entries(w.op, "user.set"); len(refused) != 3 || refused[0].Outcome != OutcomeRefused || refused[0].Tenant != acme.ID {
			t.Errorf("refused changes: %+v", refused)
		}
	})
}

func TestLastAdminStays(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		ann, annP := w.admin("acme", "ann@example.com", permission.Admin)
		users := w.Users()
		for who, by := range map[string]Principal{"herself": annP, "the operator": w.op} {
			_, err := users.Set(t.Context(), by, ann.ID, UserPatch{Role: ptr(permission.Viewer)})
			wantErr(t, "demoted by "+who, err, ErrLastAdmin)
			_, err = users.Deactivate(t.Context(), by, ann.ID)
			wantErr(t, "deactivated by "+who, err, ErrLastAdmin)
			wantErr(t, "deleted by "+who, users.Delete(t.Context(), by, ann.ID), ErrLastAdmin)
		}
		if annP.Can(permission.UsersManage, acme.ID) != nil {
			t.Error("a refused change was kept")
		}
		invited, err := users.Invite(t.Context(), annP, NewUser{Email: "bob@example.com", Role: permission.Admin})
		wantErr(t, "invite", err, nil)
		wantErr(t, "an invited admin is none yet", users.Delete(t.Context(), annP, ann.ID), ErrLastAdmin)
		_, err = users.Accept(t.Context(), w.deliver().Token, "", goodPassword)
		wantErr(t, "accept", err, nil)
		wantErr(t, "with another one", users.Delete(t.Context(), annP, ann.ID), nil)
		_, err = users.Deactivate(t.Context(), w.op, invited.ID)
		wantErr(t, "the one left", err, ErrLastAdmin)

		// An admin by a team counts, until the team's role goes.
		vic, err := users.Create(t.Context(), w.op, NewUser{Tenant: "acme", Email: "vic@example.com", Role: permission.Viewer, Password: goodPassword})
		wantErr(t, "create", err, nil)
		w.sql(`INSERT INTO teams (id, tenant_id, name, created_at, changed_at, rev) VALUES ('T', ?, 'ops', 0, 0, %d)`, acme.ID.String())
		w.sql(`INSERT INTO team_roles (team_id, role) SELECT id, 'admin' FROM teams WHERE rev < %d`)
		w.sql(`INSERT INTO team_members (team_id, user_id) SELECT id, ? FROM teams WHERE rev < %d`, vic.ID)
		_, err = users.Deactivate(t.Context(), w.op, invited.ID)
		wantErr(t, "with an admin by a team", err, nil)
	})
}

// TestTwoAdminsCannotRemoveEachOther: of conflicting removals one wins.
func TestTwoAdminsCannotRemoveEachOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		ann, annP := w.admin("acme", "ann@example.com", permission.Admin)
		bob, bobP := w.admin("acme", "bob@example.com", permission.Admin)
		errs := make(chan error, 2)
		go func() { errs <- w.Users().Delete(t.Context(), annP, bob.ID) }()
		go func() { errs <- w.Users().Delete(t.Context(), bobP, ann.ID) }()
		first, second := <-errs, <-errs
		if (first == nil) == (second == nil) {
			t.Errorf("both ended alike: %v, %v", first, second)
		}
	})
}

func TestDeactivatedAndDeletedUsersAreOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		_, ann := w.admin("acme", "ann@example.com", permission.Admin)
		bob, bobP := w.member(ann, "acme", "bob@example.com", permission.Viewer)
		_, err := w.Users().Deactivate(t.Context(), ann, bob.ID)
		wantErr(t, "deactivate", err, nil)
		wantErr(t, "principal of before", bobP.Can(permission.QueriesRun, acme.ID), ErrNotFound)
		in := SignIn{Slug: "acme", Email: "bob@example.com", Password: goodPassword}
		_, err = w.SignIn(t.Context(), in)
		wantErr(t, "sign-in", err, ErrSignIn)
		_, err = w.Users().Activate(t.Context(), ann, bob.ID)
		wantErr(t, "activate", err, nil)
		again, err := w.SignIn(t.Context(), in)
		wantErr(t, "sign-in again", err, nil)
		wantErr(t, "delete", w.Users().Delete(t.Context(), ann, bob.ID), nil)
		_, err = w.Session(again.Token)
		wantErr(t, "session of a deleted user", err, ErrSignedOut)
		_, err = w.SignIn(t.Context(), in)
		wantErr(t, "sign-in of a deleted user", err, ErrSignIn)
		_, err = w.Users().Show(t.Context(), ann, bob.ID)
		wantErr(t, "show a deleted user", err, ErrNotFound)
		_, err = w.Users().Invite(t.Context(), ann, NewUser{Email: "bob@example.com", Role: permission.Viewer})
		wantErr(t, "the address is free", err, nil)
	})
}

func TestUserLimitsOfTheTenantAndThoseAboveHold(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "dev", Parent: "acme"})
		w.sql(`UPDATE tenants SET max_users = CASE name WHEN 'acme' THEN 3 ELSE 2 END, rev = %d`)
		create := func(tenant, email string) (User, error) {
			return w.Users().Create(t.Context(), w.op, NewUser{Tenant: tenant, Email: email, Role: permission.Admin, Password: goodPassword})
		}
		one, err := create("dev", "one@example.com")
		wantErr(t, "one", err, nil)
		two, err := create("dev", "two@example.com")
		wantErr(t, "two", err, nil)
		_, err = create("dev", "three@example.com")
		wantErr(t, "three", err, ErrLimitUsers)
		_, err = create("acme", "four@example.com")
		wantErr(t, "above", err, nil)
		_, err = w.Users().Deactivate(t.Context(), w.op, one.ID)
		wantErr(t, "deactivate", err, nil)
		_, err = create("acme", "five@example.com")
		wantErr(t, "in the place of an inactive one", err, nil)
		_, err = w.Users().Activate(t.Context(), w.op, one.ID)
		wantErr(t, "activate beyond the limit above", err, ErrLimitUsers)
		wantErr(t, "delete", w.Users().Delete(t.Context(), w.op, two.ID), ErrLastAdmin)
	})
}

func TestInvitationsKeepToTheTenantsDomains(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "globex"})
		w.sql(`INSERT INTO email_domains (tenant_id, domain, added_at) VALUES (?, 'acme.example', %d)`, acme.ID.String())
		for email, want := range map[string]error{
			"a@acme.example": nil, "b@ACME.example": nil, "c@sub.acme.example": ErrEmailDomain, "d@acme.example.org": ErrEmailDomain, "e@notacme.example": ErrEmailDomain,
		} {
			_, err := w.Users().Invite(t.Context(), w.op, NewUser{Tenant: "acme", Email: email, Role: permission.Viewer})
			wantErr(t, email, err, want)
		}
		_, err := w.Users().Invite(t.Context(), w.op, NewUser{Tenant: "globex", Email: "e@other.example", Role: permission.Viewer})
		wantErr(t, "without domains", err, nil)
	})
}

func TestUsersAreListedByWhatIsAsked(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "globex"})
		_, ann := w.admin("acme", "ann@example.com", permission.Admin)
		w.admin("globex", "ann@example.com", permission.Admin)
		var vic User
		for _, email := range []string{"vic@example.com", "v_x@example.com", "Zoe@example.com"} {
			w.clock.Add(time.Millisecond)
			var err error
			vic, err = w.Users().Invite(t.Context(), ann, NewUser{Email: email, Role: permission.Viewer})
			wantErr(t, email, err, nil)
		}
		w.sql(`INSERT INTO teams (id, tenant_id, name, created_at, changed_at, rev) VALUES ('T', ?, 'ops', 0, 0, %d)`, acme.ID.String())
		w.sql(`INSERT INTO team_members (team_id, user_id) SELECT id, ? FROM teams WHERE rev < %d`, vic.ID)
		for _, c := range []struct {
			ask  ListUsers
			want string
		}{
			{ListUsers{}, "ann@example.com vic@example.com v_x@example.com Zoe@example.com"},
			{ListUsers{Search: "V_"}, "v_x@example.com"},
			{ListUsers{Search: "zOE"}, "Zoe@example.com"},
			{ListUsers{Status: UserActive}, "ann@example.com"},
			{ListUsers{Role: permission.Viewer, Status: UserInvited, Search: "vic"}, "vic@example.com"},
			{ListUsers{Team: "T"}, "Zoe@example.com"},
			{ListUsers{Team: "none"}, ""},
		} {
			var got []string
			c.ask.Limit = 2
			for {
				page, next, err := w.Users().List(t.Context(), ann, c.ask)
				wantErr(t, "list", err, nil)
				for _, u := range page {
					got = append(got, u.Email)
				}
				if c.ask.After = next; next == "" {
					break
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("%+v: %s, want %s", c.ask, text, c.want)
			}
		}
		_, _, err := w.Users().List(t.Context(), ann, ListUsers{Status: "gone"})
		wantErr(t, "unknown status", err, ErrInvalid)
		_, _, err = w.Users().List(t.Context(), ann, ListUsers{Tenant: "globex"})
		wantErr(t, "elsewhere", err, ErrNotFound)
		_, _, err = w.Users().List(t.Context(), w.op, ListUsers{})
		wantErr(t, "operator without a tenant", err, ErrInvalid)
	})
}

func TestEmailAddresses(t *testing.T) {
	for email, want := range map[string]string{
		"Ann.O'Neil+x@Example.COM": "ann.o'neil+x@example.com", "a@xn--bcher-kva.example": "a@xn--bcher-kva.example",
		"": "", "ann": "", "@example.com": "", "ann@": "", "ann@localhost": "", "a b@example.com": "", "ann@example.com\r\nBcc: x@example.com": "",
		"änn@example.com": "", "ann@bücher.example": "", "аnn@example.com": "", "a..b@example.com": "", ".a@example.com": "", "a.@example.com": "",
		"a@-x.com": "", "a@x-.com": "", "a@x..com": "", "a@127.0.0.1": "", "a@[127.0.0.1]": "", `"a b"@example.com`: "", "a@b@example.com": "",
		strings.Repeat("a", 65) + "@example.com": "", "a@" + strings.Repeat("a.", 126) + "com": "", "a@ex\u212aample.com": "",
	} {
		got, err := emailKey(email)
		if got != want || (err == nil) == (want == "") || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %q, %v", email, got, err)
		}
	}
}
