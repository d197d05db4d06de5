package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

// billed puts an hour's bytes into the ledger.
func (s *server) billed(tenantID string, hour time.Time, bytes int64) {
	s.t.Helper()
	err := s.db.Update(s.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(context.Background(), `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes, overage_bytes,
			unbilled_bytes, records, requests, rejected_records, refused_bytes, refused_requests) VALUES (?, ?, 'logs', '', ?, 0, 0, 0, 0, 0, 0, 0)`,
			tenantID, hour.Truncate(time.Hour).Unix(), bytes)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) sql(query string, args ...any) {
	s.t.Helper()
	err := s.db.Update(s.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(s.t.Context(), query, args...)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestTenantsViewShowsAveragesOfSealedDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		s := start(t)
		rita, ann, _ := s.tree()
		id := func(name string) string { return ok[Tenant](s, 200, s.operator, "GET", "/api/v1/tenants/"+name, "").ID }
		today := s.clock.Now().UTC().Truncate(24 * time.Hour)
		s.sql(`UPDATE tenants SET created_at = ?, rev = (SELECT n FROM changes)`, today.AddDate(0, 0, -100).UnixMilli())
		s.sql(`UPDATE tenants SET created_at = ? WHERE name = 'sibling'`, today.AddDate(0, 0, -2).Add(5*time.Hour).UnixMilli())
		s.sql(`INSERT INTO usage_seal (id, through) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET through = excluded.through`, today.Unix())
		ok[Tenant](s, 200, s.operator, "PATCH", "/api/v1/tenants/child", `{"daily_bytes":1000,"owner":"ann@example.com"}`)
		s.billed(id("child"), today.AddDate(0, 0, -1), 3000)
		s.billed(id("child"), today.AddDate(0, 0, -31), 1_000_000) // before
		s.billed(id("child"), today, 7)                            // open
		s.billed(id("grandchild"), today.AddDate(0, 0, -30), 6000)
		s.billed(id("sibling"), today.AddDate(0, 0, -1), 50)
		s.billed(id("foreign"), today.AddDate(0, 0, -1), 900_000)
		rows := map[string]Tenant{}
		for _, x := range ok[Tenants](s, 200, rita, "GET", "/api/v1/tenants?usage=true", "").Tenants {
			rows[x.Name] = x
		}
		want := func(name string, bytes int64, percent float64) {
			t.Helper()
			x := rows[name]
			if x.AverageDailyBytes == nil || *x.AverageDailyBytes != bytes || (x.AveragePercent == nil) != (percent == 0) ||
				percent != 0 && *x.AveragePercent != percent {
				t.Errorf("%s: %v bytes, %v percent, want %d and %v", name, x.AverageDailyBytes, x.AveragePercent, bytes, percent)
			}
		}
		want("child", 300, 30)     // its own and the grandchild's
		want("grandchild", 200, 0) // no limit of its own
		want("root", 301, 0)
		want("sibling", 25, 0) // of the two days that it was there
		if plain := ok[Tenants](s, 200, rita, "GET", "/api/v1/tenants", ""); plain.Tenants[0].AverageDailyBytes != nil {
			t.Error("averages without being asked for")
		}

		view := ok[Overview](s, 200, ann, "GET", "/api/v1/tenants/child/overview", "")
		if u := view.Usage; u == nil || u.TodayBytes != 7 || *u.AverageDailyBytes != 300 || *u.AveragePercent != 30 || u.Users != 2 || u.Keys != 0 ||
			len(u.Trend) != 30 || u.Trend[0].Bytes != 6000 || u.Trend[29].Bytes != 3000 || u.Trend[29].Day != today.AddDate(0, 0, -1).Format(time.DateOnly) {
			t.Errorf("usage %+v", u)
		}
		if len(view.Activity) == 0 || !strings.HasSuffix(view.AccessRequests, view.Tenant.ID) {
			t.Errorf("overview %+v", view)
		}
		if status, _ := s.call(ann, "GET", view.AccessRequests, ""); status != 200 {
			t.Errorf("%s: %d", view.AccessRequests, status)
		}
		for _, other := range []string{"root", "grandchild", "sibling", "foreign", "nobody"} {
			s.refused(404, "not-found", ann, "GET", "/api/v1/tenants/"+other+"/overview", "")
		}
		key := s.key("child", "admin")
		if got := ok[Overview](s, 200, key, "GET", "/api/v1/tenants/child/overview", ""); got.Usage != nil || len(got.Activity) == 0 {
			t.Errorf("a key without the scope usage sees %+v", got)
		}
		if got := ok[Tenants](s, 200, key, "GET", "/api/v1/tenants?usage=true", ""); got.Tenants[0].AverageDailyBytes != nil {
			t.Error("a key without the scope usage sees an average")
		}
	})
}
