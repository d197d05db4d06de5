package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestOriginsAreWrittenAsBrowsersSendThem(t *testing.T) {
	for _, s := range []string{"https://app.example", "http://localhost:3000", "https://app.example:8443", "https://[2001:db8::1]:8443", "capacitor://localhost", "*"} {
		if got, err := ParseOrigin(s); got != s || err != nil {
			t.Errorf("ParseOrigin(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "null", "app.example", "https://", "https://app.example/", "https://app.example/x", "https://app.example?x", "https://u@app.example",
		"https://App.example", "HTTPS://app.example", "https://app.example:443", "http://app.example:80", "https://*.app.example", "https://a b", "https://a,b",
		"https://" + strings.Repeat("a", 250), "https://app.example#", "https://:443"} {
		if _, err := ParseOrigin(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseOrigin(%q) = %v, want %v", s, err, ErrInvalid)
		}
	}
}

// TestOriginsLiveWithTheirKeys: what some key allows is known while that key lives, in this process and in others on the
// same database, and after a restart.
func TestOriginsLiveWithTheirKeys(t *testing.T) { storetest.Each(t, testOriginsLiveWithTheirKeys) }

func testOriginsLiveWithTheirKeys(t *testing.T) {
	const app, shop = "https://app.example", "https://shop.example"
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	create := func(origins ...string) (Key, Principal) {
		t.Helper()
		k, text, err := w.Keys().Create(t.Context(), w.op, NewKey{Tenant: "acme", Scopes: []KeyScope{ScopeIngest}, CORSOrigins: origins})
		if err != nil {
			t.Fatal(err)
		}
		p, err := w.Authenticate(text)
		if err != nil {
			t.Fatal(err)
		}
		return k, p
	}
	first, p := create(shop, app, app)
	second, _ := create(app)
	_, plain := create()
	if !slices.Equal(first.CORSOrigins, []string{app, shop}) {
		t.Errorf("origins %v", first.CORSOrigins)
	}
	if shown, err := w.Keys().Show(t.Context(), w.op, first.ID); err != nil || !slices.Equal(shown.CORSOrigins, first.CORSOrigins) {
		t.Errorf("shown: %v, %v", shown.CORSOrigins, err)
	}
	for origin, want := range map[string]error{app: nil, shop: nil, "https://evil.example": ErrOrigin, "null": ErrOrigin, "*": ErrOrigin} {
		if err := p.RequireOrigin(origin); !errors.Is(err, want) {
			t.Errorf("RequireOrigin(%q) = %v, want %v", origin, err, want)
		}
		if err := plain.RequireOrigin(origin); err != nil {
			t.Errorf("a key without origins: RequireOrigin(%q) = %v", origin, err)
		}
	}
	allowed := func(d *world, want ...string) {
		t.Helper()
		for _, origin := range []string{app, shop, "https://evil.example", "null", ""} {
			if got := d.AllowsOrigin(origin); got != slices.Contains(want, origin) {
				t.Errorf("AllowsOrigin(%q) = %v", origin, got)
			}
		}
	}
	other := openWorld(t, w.place, w.dir, w.clock)
	allowed(w, app, shop)
	allowed(other, app, shop)
	for _, step := range []struct {
		revoke string
		left   []string
	}{{first.ID, []string{app}}, {second.ID, nil}} {
		if _, err := w.Keys().Revoke(t.Context(), w.op, step.revoke); err != nil {
			t.Fatal(err)
		}
		if err := other.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		allowed(w, step.left...)
		allowed(other, step.left...)
	}
	create(AnyOrigin)
	if !w.AllowsOrigin("null") || !w.AllowsOrigin("https://evil.example") {
		t.Error("a key for any origin is not known")
	}
	for name, n := range map[string]NewKey{
		"bad":           {Tenant: "acme", Scopes: []KeyScope{ScopeIngest}, CORSOrigins: []string{"app.example"}},
		"too many":      {Tenant: "acme", Scopes: []KeyScope{ScopeIngest}, CORSOrigins: make([]string, maxOrigins+1)},
		"without scope": {Tenant: "acme", Scopes: []KeyScope{ScopeQuery}, CORSOrigins: []string{app}},
	} {
		if _, _, err := w.Keys().Create(t.Context(), w.op, n); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, ErrInvalid)
		}
	}
}
