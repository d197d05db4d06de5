package auth

import (
	"encoding/base32"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// TestCodesAreThoseOfRFC6238 holds the examples of its appendix B for SHA-1, of which six digits are used.
func TestCodesAreThoseOfRFC6238(t *testing.T) {
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		secret := []byte("12345678901234567890")
		if got := hotp(secret, at/totpPeriod); got != want {
			t.Errorf("%d: %s, want %s", at, got, want)
		}
		if at < 1000 {
			continue // two steps before are before 1970
		}
		for shift, ok := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
			if step, got := totpStep(secret, want, time.Unix(at+shift*totpPeriod, 0), 0); got != ok || ok && step != at/totpPeriod {
				t.Errorf("%d, seen %d steps off: %v, step %d", at, shift, got, step)
			}
		}
		if _, ok := totpStep(secret, want, time.Unix(at, 0), at/totpPeriod); ok {
			t.Errorf("%d: a code that was used is taken again", at)
		}
	}
}

// enrol gives the user of p a second factor, and returns its secret and recovery codes.
func (w *town) enrol(p Principal) (secret []byte, recovery []string) {
	w.t.Helper()
	e, err := w.BeginSecondFactor(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	if secret, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret); err != nil {
		w.t.Fatal(err)
	}
	u, err := url.Parse(e.URI)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Query().Get("secret") != e.Secret || u.Query().Get("issuer") != "headgate acme" {
		w.t.Errorf("URI %s: %v", e.URI, err)
	}
	recovery, err = w.ConfirmSecondFactor(w.t.Context(), p, w.codeOf(secret))
	if err != nil {
		w.t.Fatal(err)
	}
	return secret, recovery
}

func (w *town) codeOf(secret []byte) string { return hotp(secret, w.clock.Now().Unix()/totpPeriod) }

func TestSecondFactorIsAskedForAndUsedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		in := SignIn{Slug: "acme", Email: "ann@example.com", Password: goodPassword}
		_, ann := w.admin("acme", in.Email, permission.Admin)
		other, err := w.SignIn(t.Context(), in)
		wantErr(t, "sign-in before", err, nil)
		_, err = w.ConfirmSecondFactor(t.Context(), ann, "000000")
		wantErr(t, "confirm nothing", err, ErrState)
		secret, recovery := w.enrol(ann)
		if len(recovery) != recoveryCodes {
			t.Fatalf("recovery codes %v", recovery)
		}
		_, err = w.Session(other.Token)
		wantErr(t, "another session", err, ErrSignedOut)
		_, err = w.Account(ann)
		wantErr(t, "the session that enrolled", err, nil)
		_, err = w.BeginSecondFactor(t.Context(), ann)
		wantErr(t, "a second enrolment", err, ErrState)

		sign := func(code string) error {
			t.Helper()
			in.Code = code
			_, err := w.SignIn(t.Context(), in)
			return err
		}
		wantErr(t, "without a code", sign(""), ErrCodeNeeded)
		wantErr(t, "the code of the enrolment again", sign(w.codeOf(secret)), ErrCode)
		w.clock.Add(totpPeriod * time.Second)
		code := w.codeOf(secret)
		wantErr(t, "a wrong code", sign("0"+code[:5]), ErrCode)
		wantErr(t, "with blanks", sign(code[:3]+" "+code[3:]), nil)
		wantErr(t, "the same code", sign(code), ErrCode)
		wantErr(t, "a recovery code", sign(recovery[0]), nil)
		wantErr(t, "the same recovery code", sign(recovery[0]), ErrCode)
		wantErr(t, "in lower case, without dashes", sign(lowerASCII(recovery[1][:4]+recovery[1][5:9]+recovery[1][10:])), nil)
		wrong := in
		wrong.Password = "wrong horse battery"
		_, err = w.SignIn(t.Context(), wrong)
		wantErr(t, "a code without the password", err, ErrSignIn)

		in.Code = recovery[2]
		got, err := w.SignIn(t.Context(), in)
		wantErr(t, "sign in", err, nil)
		_, err = w.NewRecoveryCodes(t.Context(), got.Principal, recovery[2])
		wantErr(t, "new codes by a used one", err, ErrCode)
		fresh, err := w.NewRecoveryCodes(t.Context(), got.Principal, recovery[3])
		wantErr(t, "new codes", err, nil)
		wantErr(t, "an old recovery code", sign(recovery[4]), ErrCode)
		wantErr(t, "remove by a wrong code", w.RemoveSecondFactor(t.Context(), got.Principal, "123"), ErrCode)
		wantErr(t, "remove", w.RemoveSecondFactor(t.Context(), got.Principal, fresh[0]), nil)
		wantErr(t, "without a code", sign(""), nil)
		if n := w.count(`SELECT count(*) FROM recovery_codes`); n != 0 {
			t.Errorf("%d recovery codes are left", n)
		}
	})
}

// TestWrongCodesAreCountedLikeWrongPasswords: six digits are few.
func TestWrongCodesAreCountedLikeWrongPasswords(t *testing.T) {
	w := newTown(t)
	w.tenant(NewTenant{Name: "acme"})
	_, ann := w.admin("acme", "ann@example.com", permission.Admin)
	secret, _ := w.enrol(ann)
	w.clock.Add(time.Hour)
	in := SignIn{Slug: "acme", Email: "ann@example.com", Password: goodPassword, Code: "1"}
	for range failuresPerAccount {
		_, err := w.SignIn(t.Context(), in)
		wantErr(t, "wrong code", err, ErrCode)
	}
	in.Code = w.codeOf(secret)
	var many *TooManyError
	if _, err := w.SignIn(t.Context(), in); !errors.As(err, &many) {
		t.Errorf("the right code after that: %v", err)
	}
	for range failuresPerAccount {
		wantErr(t, "remove by a wrong code", w.RemoveSecondFactor(t.Context(), ann, "1"), ErrCode)
	}
	if err := w.RemoveSecondFactor(t.Context(), ann, w.codeOf(secret)); !errors.As(err, &many) {
		t.Errorf("remove by the right code after that: %v", err)
	}
}

// TestTenantsDecideWhoMustHaveASecondFactor: on sessions of before too.
func TestTenantsDecideWhoMustHaveASecondFactor(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		acme := w.tenant(NewTenant{Name: "acme"})
		_, ann := w.admin("acme", "ann@example.com", permission.Admin)
		w.member(ann, "acme", "ed@example.com", permission.Editor)
		policy := func(p string) {
			w.sql(`UPDATE tenants SET second_factor = ?, rev = %d WHERE id = ?`, p, acme.ID.String())
		}
		sign := func(email string) SignedIn {
			t.Helper()
			in, err := w.SignIn(t.Context(), SignIn{Slug: "acme", Email: email, Password: goodPassword})
			wantErr(t, email, err, nil)
			return in
		}
		before := sign("ann@example.com")
		for _, c := range []struct {
			policy    string
			admin, ed bool // must enrol
		}{{FactorOptional, false, false}, {FactorDisabled, false, false}, {FactorAdmins, true, false}, {FactorRequired, true, true}, {"of a later version", true, true}} {
			policy(c.policy)
			if got := sign("ann@example.com").Principal.MustEnrol(); got != c.admin {
				t.Errorf("%s: an admin must enrol: %v", c.policy, got)
			}
			if got := w.session(before.Token).MustEnrol(); got != c.admin {
				t.Errorf("%s: an admin with a session of before must enrol: %v", c.policy, got)
			}
			if got := sign("ed@example.com").Principal.MustEnrol(); got != c.ed {
				t.Errorf("%s: an editor must enrol: %v", c.policy, got)
			}
		}
		policy(FactorAdmins)
		p := w.session(before.Token)
		if p.Scope().Valid() || p.Require(ScopeAdmin) == nil || p.Require(ScopeQuery) == nil {
			t.Error("who must enrol has scopes")
		}
		wantErr(t, "who must enrol", p.Can(permission.DashboardsRead, acme.ID), ErrNotFound)
		if reach, limited := p.Reach(); len(reach) != 0 || !limited {
			t.Errorf("who must enrol reaches %v", reach)
		}
		_, _, err := w.Users().List(t.Context(), p, ListUsers{})
		wantErr(t, "list", err, ErrScope)
		secret, recovery := w.enrol(p)
		if p := w.session(before.Token); p.MustEnrol() || p.Can(permission.UsersManage, acme.ID) != nil {
			t.Error("the session that has enrolled is not whole")
		}
		wantErr(t, "remove what is required", w.RemoveSecondFactor(t.Context(), w.session(before.Token), recovery[0]), ErrState)

		// A session of a time when no code was asked for does not last once one is.
		policy(FactorDisabled)
		weak := sign("ann@example.com")
		_, err = w.Session(weak.Token)
		wantErr(t, "while it is disabled", err, nil)
		policy(FactorRequired)
		_, err = w.Session(weak.Token)
		wantErr(t, "once it is required", err, ErrSignedOut)
		w.clock.Add(time.Hour)
		in, err := w.SignIn(t.Context(), SignIn{Slug: "acme", Email: "ann@example.com", Password: goodPassword, Code: w.codeOf(secret)})
		wantErr(t, "with a code", err, nil)
		if in.Principal.MustEnrol() {
			t.Error("who has given a code must enrol")
		}
		// Who has lost it is helped by the operator, and must enrol again.
		_, err = w.Users().ResetSecondFactor(t.Context(), in.Principal, in.Principal.User())
		wantErr(t, "reset one's own", err, ErrForbidden)
		_, err = w.Users().ResetSecondFactor(t.Context(), w.op, in.Principal.User())
		wantErr(t, "reset", err, nil)
		_, err = w.Session(in.Token)
		wantErr(t, "after the reset", err, ErrSignedOut)
		if !sign("ann@example.com").Principal.MustEnrol() {
			t.Error("after the reset none must be enrolled")
		}
	})
}

func TestSealedTextsOpenWithTheirKeyAlone(t *testing.T) {
	a, b := [32]byte{1}, [32]byte{2}
	sealed := seal(a, "u1", []byte("secret"))
	if plain, err := unseal(a, "u1", sealed); string(plain) != "secret" || err != nil {
		t.Errorf("%q, %v", plain, err)
	}
	if string(seal(a, "u1", []byte("secret"))) == string(sealed) {
		t.Error("sealed twice alike")
	}
	broken := append([]byte{}, sealed...)
	broken[len(broken)-1] ^= 1
	for what, err := range map[string]error{
		"another key": second(unseal(b, "u1", sealed)), "another user": second(unseal(a, "u2", sealed)), "changed": second(unseal(a, "u1", broken)),
		"cut": second(unseal(a, "u1", sealed[:5])), "empty": second(unseal(a, "u1", nil)),
	} {
		if err == nil {
			t.Errorf("%s opens it", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }
