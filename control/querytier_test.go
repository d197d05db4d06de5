package control

import (
	"testing"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// TestQueryTierIsTheOperators: the operator alone chooses it, of the tiers that there are; it holds for those below too.
func TestQueryTierIsTheOperators(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		rita, ann, _ := s.tree()
		s.api.QueryTiers = []string{"large", "small"}
		s.refused(400, "invalid-argument", s.operator, "PATCH", "/api/v1/tenants/root", `{"query_tier":"huge"}`)
		s.refused(403, "forbidden", rita, "PATCH", "/api/v1/tenants/child", `{"query_tier":"small"}`)
		s.refused(403, "forbidden", rita, "PATCH", "/api/v1/tenants/child", `{"query_tier":"huge"}`)
		s.refused(403, "forbidden", ann, "PATCH", "/api/v1/tenants/child", `{"query_tier":"","owner":"ann@example.com"}`)
		s.refused(404, "not-found", ann, "PATCH", "/api/v1/tenants/foreign", `{"query_tier":"small"}`)
		s.refused(403, "forbidden", rita, "POST", "/api/v1/tenants", `{"name":"x","parent":"child","query_tier":"small"}`)
		root := ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/root", `{"query_tier":"small"}`)
		child := ok[Tenant](s, 200, ann, "GET", "/api/v1/tenants/child", "")
		if root.QueryTier != "small" || child.QueryTier != "" {
			t.Errorf("root %q, child %q", root.QueryTier, child.QueryTier)
		}
		made := ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"big","parent":"child","query_tier":"large"}`)
		tiers := map[string]string{}
		operator, err := s.api.Directory.Operator(s.operator)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"root", "grandchild", "big", "foreign"} {
			in, err := s.api.Directory.Tenants().Show(t.Context(), operator, name)
			if err != nil {
				t.Fatal(err)
			}
			tiers[name] = s.api.Directory.QueryTier(in.ID)
		}
		if made.QueryTier != "large" || tiers["root"] != "small" || tiers["grandchild"] != "small" || tiers["big"] != "large" || tiers["foreign"] != "" {
			t.Errorf("made %q, in force %v", made.QueryTier, tiers)
		}
	})
}
