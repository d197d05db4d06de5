package permission

import (
	"slices"
	"testing"
)

func TestSetsComeBackAsTheyWere(t *testing.T) {
	for i := range All {
		for j := range All {
			s := Of(All[i].Permission, All[j].Permission)
			got, err := Parse(s.String())
			if err != nil || got != s || !s.Has(All[i].Permission) {
				t.Fatalf("Parse(%q) = %v, %v", s, got, err)
			}
		}
	}
	if got, err := Parse("queries.run tenants.burn"); err == nil || got != 0 {
		t.Errorf("an unknown permission is read as %v", got)
	}
	if Everything.Len() != len(All) || len(All) > 32 {
		t.Errorf("%d of %d permissions", Everything.Len(), len(All))
	}
}

func TestEachBuiltInRoleIsBeyondTheOneBefore(t *testing.T) {
	for i := 1; i < len(Builtin); i++ {
		if below, above := Builtin[i-1], Builtin[i]; !above.Permissions.Covers(below.Permissions) || below.Permissions == above.Permissions {
			t.Errorf("%s is not beyond %s", above.Name, below.Name)
		}
	}
	if s, _ := OfRole(Admin); s.Has(TenantsCreate) || s.Has(TenantsDelete) || s.Has(LimitsManage) {
		t.Error("an admin may do what a parent decides")
	}
	if _, ok := OfRole("Admin"); ok {
		t.Error("role names are exact")
	}
}

func TestNobodyCoversWhatTheyLack(t *testing.T) {
	for _, r := range Builtin {
		for _, p := range All {
			if want := r.Permissions.Has(p.Permission); r.Permissions.Covers(Of(p.Permission)) != want {
				t.Errorf("%s covers %s: not %v", r.Name, p.Permission, want)
			}
		}
	}
	if !slices.Equal(viewer.List(), []string{"dashboards.read", "queries.run", "access.request"}) {
		t.Errorf("viewer may %v", viewer)
	}
}
