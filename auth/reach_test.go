package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Everything a principal can ask of the control plane, each as a call that names ref or id.
func asks(w *world, by Principal) map[string]func(ref, id string) error {
	ctx := w.t.Context()
	ts, ks := w.Tenants(), w.Keys()
	return map[string]func(ref, id string) error{
		"tenant show":    func(ref, _ string) error { _, err := ts.Show(ctx, by, ref); return err },
		"tenant set":     func(ref, _ string) error { _, err := ts.Set(ctx, by, ref, Patch{Unlimited: true}); return err },
		"tenant disable": func(ref, _ string) error { _, err := ts.Disable(ctx, by, ref); return err },
		"tenant enable":  func(ref, _ string) error { _, err := ts.Enable(ctx, by, ref); return err },
		"tenant delete":  func(ref, _ string) error { _, err := ts.BeginDelete(ctx, by, ref, ref); return err },
		"tenant deleted": func(ref, _ string) error { return ts.FinishDelete(ctx, by, ref) },
		"audit":          func(ref, _ string) error { _, _, err := w.Audit(ctx, by, AuditFilter{Tenant: ref}); return err },
		"key create": func(ref, _ string) error {
			_, _, err := ks.Create(ctx, by, NewKey{Tenant: ref, Scopes: []KeyScope{ScopeIngest}})
			return err
		},
		"key list":   func(ref, _ string) error { _, _, err := ks.List(ctx, by, ref, "", 0); return err },
		"key show":   func(_, id string) error { _, err := ks.Show(ctx, by, id); return err },
		"key revoke": func(_, id string) error { _, err := ks.Revoke(ctx, by, id); return err },
	}
}

// Whatever is asked about a tenant or key of somewhere else is answered, letter by letter, like what does not exist.
func TestOutOfReachIsAnsweredLikeMissingByEveryMethod(t *testing.T) {
	storetest.Each(t, testOutOfReachIsAnsweredLikeMissingByEveryMethod)
}

func testOutOfReachIsAnsweredLikeMissingByEveryMethod(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "parent"})
	w.tenant(NewTenant{Name: "acme", Parent: "parent"})
	w.tenant(NewTenant{Name: "child", Parent: "acme"})
	others := []string{"parent", "child"}
	admin := w.as("acme", ScopeAdmin, ScopeIngest, ScopeQuery, ScopeUsage)
	for name, ask := range asks(w, admin) {
		missing := ask("nobody", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
		wantErr(t, name+" of nobody", missing, ErrNotFound)
		for _, other := range others {
			k, text := w.key(NewKey{Tenant: other})
			err := ask(other, k.ID)
			wantErr(t, name+" of "+other, err, ErrNotFound)
			if err == nil {
				continue
			}
			told := strings.NewReplacer(other, "nobody", k.ID, "01ARZ3NDEKTSV4RRFFQ69G5FAV").Replace(err.Error())
			if told != missing.Error() {
				t.Errorf("%s: %q and %q tell apart what exists", name, err, missing)
			}
			w.expect(text, nil) // and nothing happened
		}
	}
}

func TestKeysWithoutTheAdminScopeAskInVain(t *testing.T) {
	storetest.Each(t, testKeysWithoutTheAdminScopeAskInVain)
}

func testKeysWithoutTheAdminScopeAskInVain(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	by := w.as("acme", ScopeIngest, ScopeQuery, ScopeUsage)
	k, text := w.key(NewKey{Tenant: "acme"})
	for name, ask := range asks(w, by) {
		wantErr(t, name, ask("acme", k.ID), ErrScope)
	}
	for name, ask := range asks(w, Principal{}) {
		if err := ask("acme", k.ID); err == nil {
			t.Errorf("%s by nobody: no error", name)
		}
	}
	w.expect(text, nil)
}

// A text opens only if it is the key's, letter by letter.
func FuzzAuthenticate(f *testing.F) {
	text := keyText("01ARZ3NDEKTSV4RRFFQ69G5FAV", "0123456789abcdefghijklmnopqrstuv")
	d := &Directory{now: time.Now, m: newMetrics(nil)}
	d.macs.New = func() any { return hmac.New(sha256.New, []byte("pepper")) }
	id, secret, _ := parseKeyText(text)
	owner, err := tenant.ParseID("a")
	if err != nil {
		f.Fatal(err)
	}
	d.tenants = map[tenant.ID]*Tenant{owner: {ID: owner, Status: Active}}
	d.keys = map[string]*keyEntry{id: {key: Key{ID: id, Tenant: owner}, mac: d.mac(id, secret)}}
	f.Add(text)
	f.Add(strings.ToLower(text))
	f.Add(text + "\n")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := d.Authenticate(s)
		if (err == nil) != (s == text) {
			t.Fatalf("Authenticate(%q) = %v", s, err)
		}
		var known *Error
		if err != nil && (!errors.As(err, &known) || p != (Principal{})) {
			t.Fatalf("Authenticate(%q) = %v, %v", s, p, err)
		}
		if err != nil && len(s) > 12 && strings.Contains(err.Error(), s) {
			t.Fatalf("the error repeats the credential %q", s)
		}
	})
}

func TestAuthenticateDoesNotWaitForTheDatabase(t *testing.T) {
	storetest.Each(t, testAuthenticateDoesNotWaitForTheDatabase)
}

func testAuthenticateDoesNotWaitForTheDatabase(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	block := make(chan struct{})
	done := make(chan error, 1)
	held := make(chan struct{})
	go func() {
		done <- w.db.Update(t.Context(), executeAfter(held, block))
	}()
	<-held // the write lock is held by somebody
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		w.expect(text, nil)
		w.expect("x", ErrUnknownKey)
	}()
	select {
	case <-answered:
	case <-time.After(time.Minute):
		t.Error("Authenticate waits for the database")
	}
	close(block)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
