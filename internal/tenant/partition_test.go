package tenant

import (
	"slices"
	"testing"
)

// TestNamesOfPartitionsNeverChange: rows lie under these names, and are looked for under no others.
func TestNamesOfPartitionsNeverChange(t *testing.T) {
	for id, want := range map[string]string{
		"a": "shared-12", "b": "shared-05", "q": "shared-12", // tests want a and q in one
		"01M81NZNG8TTEN2KGGPFRHE9D2": "shared-05", "01M81NZR31SNF37G8GFBVDXE49": "shared-15", "01M81NZS8153RFSG0VANJCCSX6": "shared-12",
	} {
		tenant, err := ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := tenant.Partition(false); got != want {
			t.Errorf("Partition(false) of %s = %q, want %q", id, got, want)
		}
		if got := tenant.Partition(true); got != id {
			t.Errorf("Partition(true) of %s = %q, want %[1]q", id, got)
		}
	}
}

func TestScopesHaveTheirTenantsPartitions(t *testing.T) {
	a, b := ID{"a"}, ID{"b"}
	s, err := NewScope(b, a)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Partitions(), []string{"", "a", "b", b.Partition(false), a.Partition(false)}; !slices.Equal(got, want) {
		t.Errorf("Partitions() = %q, want %q", got, want)
	}
	if got := s.Among([]string{"b", "c"}); !slices.Equal(got.Strings(), []string{"b"}) {
		t.Errorf("Among(b, c) = %q", got.Strings())
	}
	if got := s.PaidBy(a).Among([]string{"b"}).Payer(); got != a {
		t.Errorf("who pays for a part is %q, want the payer of the whole", got)
	}
	if got := s.Among([]string{"c"}); got.Valid() {
		t.Errorf("Among(c) = %q, which is valid", got.Strings())
	}
}
