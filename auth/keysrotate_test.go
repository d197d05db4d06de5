package auth

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func (w *world) rotate(by Principal, id string, overlap time.Duration) (Key, string) {
	w.t.Helper()
	k, text, err := w.Keys().Rotate(w.t.Context(), by, id, overlap)
	if err != nil {
		w.t.Fatal(err)
	}
	return k, text
}

func TestBothSecretsOpenUntilTheOverlapEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "acme"})
		k, first := w.key(NewKey{Tenant: "acme"})
		other := openWorld(t, w.place, w.dir, w.clock)
		rotated, second := w.rotate(w.op, k.ID, 24*time.Hour)
		if err := other.Directory.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rotated.OldUntil == nil || !rotated.OldUntil.Equal(w.clock.Now().Add(24*time.Hour)) || first == second ||
			!strings.HasPrefix(second, "hg_"+k.ID+"_") {
			t.Errorf("rotated %+v: %q", rotated, second)
		}
		both := func(one, two error) {
			t.Helper()
			for _, d := range []*world{w, other} {
				d.expect(first, one)
				d.expect(second, two)
			}
		}
		both(nil, nil)
		w.clock.Add(24*time.Hour - time.Millisecond)
		both(nil, nil)
		w.clock.Add(time.Millisecond)
		both(ErrUnknownKey, nil)
		// The secret of one key opens no other, whichever it is.
		_, otherText := w.key(NewKey{Tenant: "acme"})
		id, _, _ := parseKeyText(otherText)
		_, secret, _ := parseKeyText(second)
		w.expect(keyText(id, secret), ErrUnknownKey)
	})
}

func TestRotationKeepsTwoSecretsAtMost(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		ctx := t.Context()
		w.tenant(NewTenant{Name: "acme"})
		k, first := w.key(NewKey{Tenant: "acme", ExpiresAt: ptr(w.clock.Now().Add(90 * 24 * time.Hour))})
		for _, overlap := range []time.Duration{-1, MaxOverlap + 1} {
			_, _, err := w.Keys().Rotate(ctx, w.op, k.ID, overlap)
			wantErr(t, fmt.Sprintf("overlap %s", overlap), err, ErrInvalid)
		}
		_, second := w.rotate(w.op, k.ID, MaxOverlap)
		_, _, err := w.Keys().Rotate(ctx, w.op, k.ID, time.Hour)
		wantErr(t, "a third secret", err, ErrState)
		w.expect(first, nil)
		w.expect(second, nil)
		_, third := w.rotate(w.op, k.ID, 0)
		w.expect(first, ErrUnknownKey)
		w.expect(second, ErrUnknownKey)
		w.expect(third, nil)
		_, fourth := w.rotate(w.op, k.ID, time.Hour)
		w.clock.Add(time.Hour) // the overlap is over
		_, fifth := w.rotate(w.op, k.ID, time.Hour)
		w.expect(third, ErrUnknownKey)
		w.expect(fourth, nil)
		w.expect(fifth, nil)
		if _, err := w.Keys().Revoke(ctx, w.op, k.ID); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{first, second, third, fourth, fifth} {
			w.expect(text, ErrUnknownKey)
		}
		_, _, err = w.Keys().Rotate(ctx, w.op, k.ID, 0)
		wantErr(t, "rotate a revoked key", err, ErrState)
		old, _ := w.key(NewKey{Tenant: "acme", ExpiresAt: ptr(w.clock.Now().Add(time.Minute))})
		w.clock.Add(time.Minute)
		_, _, err = w.Keys().Rotate(ctx, w.op, old.ID, 0)
		wantErr(t, "rotate an expired key", err, ErrState)
		_, _, err = w.Keys().Rotate(ctx, w.op, "nobody", 0)
		wantErr(t, "rotate no key", err, ErrNotFound)
	})
}

// A rotation hands out a text that opens what the key opens.
func TestNobodyRotatesAKeyThatOpensMoreThanTheyHave(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		query, text := f.key(NewKey{Tenant: "child", Scopes: []KeyScope{ScopeQuery}})
		admin := f.as("child", ScopeAdmin, ScopeIngest)
		_, _, err := f.Keys().Rotate(t.Context(), admin, query.ID, 0)
		wantErr(t, "by a key without the scope", err, ErrForbidden)
		f.sql(`INSERT INTO roles (id, tenant_id, name, permissions, created_at, changed_at, rev) VALUES ('R', ?, 'keys', 'keys.manage', 0, 0, %d)`, f.child.ID.String())
		_, token := f.person("kim", f.child.ID, "R")
		kim := f.session(token)
		_, _, err = f.Keys().Rotate(t.Context(), kim, query.ID, 0)
		wantErr(t, "by a user who runs no queries", err, ErrForbidden)
		for _, scope := range []KeyScope{ScopeQuery, ScopeUsage, ScopeAdmin} {
			_, _, err = f.Keys().Create(t.Context(), kim, NewKey{Tenant: "child", Scopes: []KeyScope{scope}})
			wantErr(t, "Create "+string(scope), err, ErrForbidden)
		}
		_, _, err = f.Keys().Create(t.Context(), kim, NewKey{Tenant: "child", Scopes: []KeyScope{ScopeIngest}})
		wantErr(t, "Create ingest", err, nil)
		f.expect(text, nil)
		_, _, err = f.Keys().Rotate(t.Context(), f.ann, query.ID, 0)
		wantErr(t, "by an admin", err, nil)
		for _, by := range []Principal{f.ann, f.as("child", ScopeAdmin)} {
			foreign, _ := f.key(NewKey{Tenant: "sibling"})
			_, _, err = f.Keys().Rotate(t.Context(), by, foreign.ID, 0)
			wantErr(t, "of another tenant", err, ErrNotFound)
		}
	})
}

func TestLastUseTellsWhichSecret(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "acme"})
		k, first := w.key(NewKey{Tenant: "acme"})
		w.expect(first, nil)
		used := w.clock.Now().Truncate(time.Minute)
		_, second := w.rotate(w.op, k.ID, time.Hour) // before the use is written
		look := func(last, old *time.Time) {
			t.Helper()
			if err := w.flushUses(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := w.Keys().Show(t.Context(), w.op, k.ID)
			if err != nil || !sameTime(got.LastUsed, last) || !sameTime(got.OldLastUsed, old) {
				t.Errorf("last used %v, by the secret before %v, %v; want %v, %v", got.LastUsed, got.OldLastUsed, err, last, old)
			}
		}
		look(&used, nil)
		w.clock.Add(10 * time.Minute)
		w.expect(first, nil)
		old := w.clock.Now().Truncate(time.Minute)
		look(&old, &old)
		w.clock.Add(10 * time.Minute)
		w.expect(second, nil)
		last := w.clock.Now().Truncate(time.Minute)
		look(&last, &old)
		w.rotate(w.op, k.ID, 0)
		look(&last, nil)
	})
}

func sameTime(a, b *time.Time) bool { return (a == nil) == (b == nil) && (a == nil || a.Equal(*b)) }

func TestKeysHaveNamesAndOwnersOfTheirTenant(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		f.person("bot", f.child.ID, permission.NoAccess)
		try := func(n NewKey, want error) {
			t.Helper()
			n.Tenant, n.Scopes = "child", []KeyScope{ScopeIngest}
			k, _, err := f.Keys().Create(t.Context(), f.ann, n)
			wantErr(t, fmt.Sprintf("Create(%+v)", n), err, want)
			if shown, err := f.Keys().Show(t.Context(), f.ann, k.ID); want == nil && (err != nil || shown.Name != n.Name || shown.Owner != n.Owner) {
				t.Errorf("shown %+v, %v", shown, err)
			}
			k, _ = f.key(NewKey{Tenant: "child"})
			_, err = f.Keys().Set(t.Context(), f.ann, k.ID, KeyPatch{Name: &n.Name, Owner: &n.Owner})
			wantErr(t, fmt.Sprintf("Set(%+v)", n), err, want)
		}
		try(NewKey{Name: "collector in Köln", Owner: "U-bot"}, nil)
		try(NewKey{Name: strings.Repeat("x", 100)}, nil)
		for _, name := range []string{strings.Repeat("x", 101), " x", "x ", "a\nb", "a\x00", "\xff", "a\u202eb", "a\u200bb"} {
			try(NewKey{Name: name}, ErrInvalid)
		}
		for _, owner := range []string{"nobody", "U-rita", "u-bot", "'; --"} {
			try(NewKey{Owner: owner}, ErrNotFound)
		}
	})
}

func TestKeysAreCountedBelowEachAncestor(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		f := newFamily(t)
		ctx := t.Context()
		limit := func(name string, n int64) {
			t.Helper()
			if _, err := f.Tenants().Set(ctx, f.op, name, Patch{MaxKeys: ptr(&n)}); err != nil {
				t.Fatal(err)
			}
		}
		limit("root", 3)
		limit("child", 2)
		create := func(name string, want error) (k Key) {
			t.Helper()
			k, text, err := f.Keys().Create(ctx, f.op, NewKey{Tenant: name, Scopes: []KeyScope{ScopeIngest}})
			wantErr(t, "key of "+name, err, want)
			if (text == "") != (want != nil) {
				t.Error("a text came with the error")
			}
			return k
		}
		create("child", nil)
		last := create("grandchild", nil)
		create("child", ErrLimitKeys)
		create("grandchild", ErrLimitKeys)
		create("sibling", nil)
		create("sibling", ErrLimitKeys) // for the root's
		if _, err := f.Keys().Revoke(ctx, f.op, last.ID); err != nil {
			t.Fatal(err)
		}
		k, _, err := f.Keys().Create(ctx, f.op, NewKey{Tenant: "child", Scopes: []KeyScope{ScopeIngest}, ExpiresAt: ptr(f.clock.Now().Add(time.Hour))})
		wantErr(t, "after a revocation", err, nil)
		create("child", ErrLimitKeys)
		f.clock.Add(time.Hour) // k has expired
		create("child", nil)
		f.rotate(f.op, create("foreign", nil).ID, time.Hour) // a second secret is no second key
		_ = k

		// Of many at once as many are made as may be.
		limit("foreign", 4)
		var wg sync.WaitGroup
		var mu sync.Mutex
		made := 0
		for range 8 {
			wg.Go(func() {
				_, _, err := f.Keys().Create(ctx, f.op, NewKey{Tenant: "foreign", Scopes: []KeyScope{ScopeIngest}})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made++
				}
			})
		}
		wg.Wait()
		if made != 3 {
			t.Errorf("%d of 8 keys are made, want 3", made)
		}
	})
}
