package chtest

import (
	"testing"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Neighbour is a tenant whose rows lie in one partition with those of tenant "a", so that it is not the partition that keeps
// them apart.
const Neighbour = "q"

// Partition is where the rows of the tenant with this id lie when it has no partition of its own.
func Partition(id string) string {
	parsed, err := tenant.ParseID(id)
	if err != nil {
		panic(err)
	}
	return parsed.Partition(false)
}

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
