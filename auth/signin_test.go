package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// TestSignInAnswersAlike: who does not get in learns nothing, neither from the answer nor from the work that is done.
func TestSignInAnswersAlike(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		w.tenant(NewTenant{Name: "closed"})
		_, ann := w.admin("acme", "ann@example.com", permission.Admin)
		w.admin("closed", "cleo@example.com", permission.Admin)
		off, _ := w.member(ann, "acme", "off@example.com", permission.Viewer)
		_, err := w.Users().Deactivate(t.Context(), ann, off.ID)
		wantErr(t, "deactivate", err, nil)
		_, err = w.Users().Invite(t.Context(), ann, NewUser{Email: "new@example.com", Role: permission.Viewer})
		wantErr(t, "invite", err, nil)
		_, err = w.Tenants().Disable(t.Context(), w.op, "closed")
		wantErr(t, "disable", err, nil)
		_, _ = w.SignIn(t.Context(), SignIn{Slug: "first"}) // begins the chain of what belongs to no tenant
		var same []string                                   // statements, of which the time is made
		for what, in := range map[string]SignIn{
			"unknown slug":          {Slug: "nobody", Email: "ann@example.com", Password: goodPassword},
			"no slug":               {Email: "ann@example.com", Password: goodPassword},
			"unknown address":       {Slug: "acme", Email: "zoe@example.com", Password: goodPassword},
			"no address":            {Slug: "acme", Email: "nonsense", Password: goodPassword},
			"wrong password":        {Slug: "acme", Email: "ann@example.com", Password: "wrong horse battery"},
			"no password":           {Slug: "acme", Email: "ann@example.com"},
			"a huge password":       {Slug: "acme", Email: "ann@example.com", Password: strings.Repeat("x", 1<<20)},
			"inactive user":         {Slug: "acme", Email: "off@example.com", Password: goodPassword},
			"invited user":          {Slug: "acme", Email: "new@example.com", Password: ""},
			"disabled organization": {Slug: "closed", Email: "cleo@example.com", Password: goodPassword},
			"another organization":  {Slug: "closed", Email: "ann@example.com", Password: goodPassword},
			"NUL":                   {Slug: "acme\x00", Email: "ann@example.com\x00", Password: goodPassword + "\x00"},
		} {
			hashed, failures := w.door.hashed.Load(), w.count(`SELECT count(*) FROM sign_in_failures`)+w.count(`SELECT CAST(coalesce(sum(failures), 0) AS BIGINT) FROM sign_in_failures`)
			var statements []string
			_, err := w.SignIn(store.WithTrace(t.Context(), func(query string) { statements = append(statements, query) }), in)
			if err == nil || err.Error() != ErrSignIn.Error() {
				t.Errorf("%s: %v", what, err)
			}
			if same == nil {
				same = statements
			}
			if !slices.Equal(same, statements) {
				t.Errorf("%s: asks the database otherwise than the one before:\n%s\n--\n%s", what, strings.Join(statements, "\n"), strings.Join(same, "\n"))
			}
			if n := w.door.hashed.Load() - hashed; n != 1 {
				t.Errorf("%s: %d hashes, want 1", what, n)
			}
			if after := w.count(`SELECT count(*) FROM sign_in_failures`) + w.count(`SELECT CAST(coalesce(sum(failures), 0) AS BIGINT) FROM sign_in_failures`); after <= failures {
				t.Errorf("%s: the failure is not counted", what)
			}
		}
		// Both outcomes are in the audit of the tenant; what was typed instead of an address is not.
		refused, done := 0, 0
		for _, e := range w.entries(ann, "sign-in") {
			if strings.Contains(string(e.Detail), "nonsense") || strings.Contains(string(e.Detail), "battery") {
				t.Errorf("the audit tells %s", e.Detail)
			}
			switch {
			case e.Outcome == OutcomeRefused:
				refused++
			case e.Actor == "user:"+ann.User() && e.Target == ann.User():
				done++
			}
		}
		if refused != 7 || done != 1 {
			t.Errorf("audited: %d refused, %d done", refused, done)
		}
	})
}

func (w *world) count(query string) (n int) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(tx *store.Tx) error { return tx.QueryRowContext(w.t.Context(), query).Scan(&n) })
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestAccountsAreGuessedAtSeldom: on all replicas together, at once or one after another, whether they exist or not.
func TestAccountsAreGuessedAtSeldom(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		w.admin("acme", "ann@example.com", permission.Admin)
		other := openWorld(t, w.place, w.dir, w.clock)
		for _, email := range []string{"ann@example.com", "nobody@example.com"} {
			errs := make(chan error, 3*failuresPerAccount)
			for i := range 3 * failuresPerAccount {
				go func() {
					_, err := w.SignIn(t.Context(), SignIn{Slug: "acme", Email: email, Password: "wrong horse battery", Address: fmt.Sprint("192.0.2.", i)})
					errs <- err
				}()
			}
			var tried, limited int
			for range 3 * failuresPerAccount {
				var many *TooManyError
				switch err := <-errs; {
				case errors.Is(err, ErrSignIn):
					tried++
				case errors.As(err, &many) && many.RetryAfter > 0 && many.RetryAfter <= failureWindow:
					limited++
				default:
					t.Errorf("%s: %v", email, err)
				}
			}
			if tried != failuresPerAccount {
				t.Errorf("%s: %d were tried, want %d", email, tried, failuresPerAccount)
			}
			for name, d := range map[string]*Directory{"here": w.Directory, "on another replica": other.Directory} {
				var many *TooManyError
				if _, err := d.SignIn(t.Context(), SignIn{Slug: "ACME", Email: strings.ToUpper(email), Password: goodPassword}); !errors.As(err, &many) {
					t.Errorf("%s %s with the right password: %v", email, name, err)
				}
			}
		}
		w.clock.Add(failureWindow)
		w.enter("acme", "ann@example.com")
		if n := w.count(`SELECT count(*) FROM sign_in_failures`); n != 1 {
			t.Errorf("%d accounts are counted after one has signed in, want the other one", n)
		}
		wantErr(t, "sweep", w.box.sweep(t.Context(), w.clock.Now()), nil)
		if n := w.count(`SELECT count(*) FROM sign_in_failures`); n != 0 {
			t.Errorf("%d accounts are counted after the window", n)
		}
	})
}

func TestAddressesGuessSeldom(t *testing.T) {
	a := attempts{by: map[attemptKey]*tally{}}
	now := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range failuresPerAddress {
		if err := a.take(now, map[attemptKey]int{addressKey("2001:db8::1"): failuresPerAddress, {byte(i)}: 10}); err != nil {
			t.Fatal(err)
		}
	}
	for address, free := range map[string]bool{"2001:db8::1": false, "2001:db8::ffff": false, "2001:db8:0:1::1": true, "192.0.2.1": true, "": true} {
		if err := a.take(now, map[attemptKey]int{addressKey(address): failuresPerAddress}); (err == nil) != free {
			t.Errorf("%s: %v", address, err)
		}
	}
	if addressKey("::ffff:192.0.2.1") != addressKey("192.0.2.1") || addressKey("192.0.2.1") == addressKey("192.0.2.2") {
		t.Error("addresses of IPv4 are not told apart, or not put together")
	}
	for i := range maxAttempts + 1000 {
		_ = a.take(now, map[attemptKey]int{addressKey(fmt.Sprint(i)): 1})
	}
	if len(a.by) > maxAttempts {
		t.Errorf("%d are remembered, want %d at most", len(a.by), maxAttempts)
	}
	a.sweep(now.Add(failureWindow))
	if len(a.by) != 0 {
		t.Errorf("%d are remembered after the window", len(a.by))
	}
}

func TestPasswordsAreHashedAnewWhenParametersChange(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		ann, _ := w.admin("acme", "ann@example.com", permission.Admin)
		salt := []byte("0123456789abcdef")
		old := argon{memory: 8, passes: 1, threads: 1}
		sum, err := w.door.run(t.Context(), old, goodPassword, salt, hashBytes)
		wantErr(t, "hash", err, nil)
		w.sql(`UPDATE users SET password = ?, rev = %d`, old.text(salt, sum))
		w.enter("acme", ann.Email)
		if n := w.count(`SELECT count(*) FROM users WHERE password LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'`); n != 1 {
			t.Error("the password is stored with the old parameters")
		}
		w.enter("acme", ann.Email)
	})
}

// TestResetsGoToActiveUsersAlone: and end all sessions; what else is asked for leaves no trace.
func TestResetsGoToActiveUsersAlone(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		_, ann := w.admin("acme", "ann@example.com", permission.Admin)
		_, err := w.Users().Invite(t.Context(), ann, NewUser{Email: "new@example.com", Role: permission.Viewer})
		wantErr(t, "invite", err, nil)
		w.deliver()
		ask := func(slug, email string) {
			t.Helper()
			wantErr(t, "ask", w.RequestReset(slug, email, "192.0.2.1"), nil)
			wantErr(t, "handle", w.reset(t.Context(), <-w.door.resets), nil)
		}
		ask("acme", "new@example.com")
		ask("acme", "nobody@example.com")
		ask("nobody", "ann@example.com")
		if n := w.count(`SELECT count(*) FROM tokens WHERE kind = 'reset'`); n != 0 {
			t.Fatalf("%d tokens", n)
		}
		ask("acme", "ANN@example.com")
		first := w.deliver()
		ask("acme", "ann@example.com")
		second := w.deliver()
		_, err = w.Users().Reset(t.Context(), first.Token, goodPassword+"2")
		wantErr(t, "a token that was replaced", err, ErrToken)
		w.clock.Add(time.Hour - time.Millisecond)
		_, err = w.Users().Reset(t.Context(), second.Token, goodPassword+"2")
		wantErr(t, "reset", err, nil)
		_, err = w.Users().Reset(t.Context(), second.Token, goodPassword+"3")
		wantErr(t, "a token that was used", err, ErrToken)
		wantErr(t, "session of before", ann.Can(permission.UsersManage, ann.Home()), nil) // the principal is of one request
		_, err = w.SignIn(t.Context(), SignIn{Slug: "acme", Email: "ann@example.com", Password: goodPassword})
		wantErr(t, "the old password", err, ErrSignIn)
		ask("acme", "ann@example.com")
		third := w.deliver()
		w.clock.Add(time.Hour)
		_, err = w.Users().Reset(t.Context(), third.Token, goodPassword)
		wantErr(t, "after an hour", err, ErrToken)
		for range 2 * failuresPerAccount { // beyond what is sent, the answer stays
			wantErr(t, "ask again", w.RequestReset("acme", "ann@example.com", "192.0.2.1"), nil)
		}
		if n := len(w.door.resets); n > failuresPerAccount {
			t.Errorf("%d messages would go out", n)
		}
	})
}

// TestUsesOfSessionsReachOtherReplicas: or a session that is used on one would end for want of use on the others.
func TestUsesOfSessionsReachOtherReplicas(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		w.admin("acme", "ann@example.com", permission.Admin)
		in, err := w.SignIn(t.Context(), SignIn{Slug: "acme", Email: "ann@example.com", Password: goodPassword})
		wantErr(t, "sign-in", err, nil)
		other := openWorld(t, w.place, w.dir, w.clock)
		for range 3 {
			w.clock.Add(SessionIdle - time.Minute)
			_, err = w.Session(in.Token)
			wantErr(t, "where it is used", err, nil)
			wantErr(t, "flush", w.flushSeen(t.Context()), nil)
			other.catchUp()
		}
		_, err = other.Session(in.Token)
		wantErr(t, "elsewhere", err, nil)
		w.clock.Add(SessionLife)
		wantErr(t, "flush", w.flushSeen(t.Context()), nil)
		if n := len(w.people.sessions); n != 0 {
			t.Errorf("%d sessions are remembered after their life", n)
		}
	})
}
