package control

import (
	"slices"
	"testing"
)

// The tenants that a caller may read are those of the caller's reach, page by page.
func TestQueryScopeShowsWhatMayBeRead(t *testing.T) {
	m := newMatrix(t)
	names := func(who, path string) (out []string, page QueryScope) {
		t.Helper()
		page = ok[QueryScope](m.server, 200, m.token[who], "GET", path, "")
		for _, at := range page.Tenants {
			out = append(out, at.Name)
		}
		return out, page
	}
	if got, page := names("viewer", "/api/v1/query/scope"); len(got) != 1 || got[0] != "org-own" || page.Total != 1 || page.Next != "" {
		t.Errorf("a viewer reads %v, %+v", got, page)
	}
	if got, _ := names("key:query", "/api/v1/query/scope"); len(got) != 1 || got[0] != "org-own" {
		t.Errorf("a key reads %v", got)
	}
	var all []string
	cursor := ""
	for range 10 {
		got, page := names("root-admin", "/api/v1/query/scope?limit=2&cursor="+cursor)
		if all = append(all, got...); page.Total != 6 || page.Max != 1000 {
			t.Fatalf("page %+v", page)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if want := []string{"leaf-child", "leaf-grandchild", "leaf-own", "org-child", "org-grandchild", "org-own"}; !slices.Equal(all, want) {
		t.Errorf("a root admin reads %v, want %v", all, want)
	}
	m.token["below"] = m.key("org-own", "query", "descendants")
	if got, _ := names("below", "/api/v1/query/scope"); !slices.Equal(got, all) {
		t.Errorf("a key with descendants reads %v, want %v", got, all)
	}
	m.make("POST", "/api/v1/tenants/org-child/disable", "")
	if got, _ := names("below", "/api/v1/query/scope"); !slices.Equal(got, []string{"leaf-own", "org-own"}) {
		t.Errorf("with a child disabled: %v", got)
	}
}
