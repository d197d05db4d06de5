package auth

import (
	"testing"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// TestPayerStaysWhenAScopeIsNarrowed: who reads a part of what it may read pays as before, or each part would have limits of
// its own.
func TestPayerStaysWhenAScopeIsNarrowed(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		top := w.tenant(NewTenant{Name: "top"})
		w.tenant(NewTenant{Name: "low", Parent: "top"})
		_, text := w.key(NewKey{Tenant: "top", Scopes: []KeyScope{ScopeQuery, ScopeDescendants}})
		p, err := w.Authenticate(text)
		if err != nil {
			t.Fatal(err)
		}
		part, err := w.Narrow(p.Scope(), []string{"low"})
		if err != nil {
			t.Fatal(err)
		}
		w.wantScope("a part", part, "low")
		if p.Scope().Payer() != top.ID || part.Payer() != top.ID {
			t.Errorf("payers %v and, of a part, %v, want %v", p.Scope().Payer(), part.Payer(), top.ID)
		}
	})
}
