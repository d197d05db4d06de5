package chtest

import (
	"testing"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Scope makes a scope of tenants with these ids, as auth would.
func Scope(t testing.TB, ids ...string) tenant.Scope {
	t.Helper()
	var parsed []tenant.ID
	for _, s := range ids {
		id, err := tenant.ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, id)
	}
	s, err := tenant.NewScope(parsed...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
