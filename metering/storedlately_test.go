package metering

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestStoredLatelyAreTenantsWithRowsForSure(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		db := tempDB(t)
		hour := func(ago int) int64 { return noon.Truncate(time.Hour).Add(-time.Duration(ago) * time.Hour).Unix() }
		for _, c := range []struct {
			name    string
			ago     int // hours
			records int
		}{{"old", 24, 1}, {"oldest", 23, 1}, {"newest", 2, 1}, {"new", 1, 1}, {"now", 0, 1}, {"empty", 5, 0}, {"refused", 5, 1}, {"leaving", 5, 1}, {"gone", 5, 1}} {
			addTenant(t, db, c.name, "")
			execute(t, db, `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes, overage_bytes, unbilled_bytes, records, requests,
				rejected_records, refused_bytes, refused_requests) VALUES (?, ?, 'logs', 'k', 1, 0, 0, ?, 1, 0, 0, 0)`, "ID-"+c.name, hour(c.ago), c.records)
		}
		execute(t, db, `INSERT INTO usage_aside (log_id, tenant_id, hour, signal, records, unknown) VALUES ('x', 'ID-refused', ?, 'logs', 1, 0)`, hour(5))
		execute(t, db, `UPDATE tenants SET status = 'deleting' WHERE id = 'ID-leaving'`)
		execute(t, db, `UPDATE tenants SET deleted_at = 1 WHERE id = 'ID-gone'`)
		got, err := UnsafeStoredLately(deadline(t), db, noon.Add(time.Minute))
		if want := []string{"ID-newest", "ID-oldest"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("stored of %q, %v, want %q", got, err, want)
		}
		for i := range storedTenants + 1 {
			addTenant(t, db, fmt.Sprint(i), "")
			execute(t, db, `INSERT INTO usage_hours (tenant_id, hour, signal, key_id, billed_bytes, overage_bytes, unbilled_bytes, records, requests,
				rejected_records, refused_bytes, refused_requests) VALUES (?, ?, 'logs', 'k', 1, 0, 0, 1, 1, 0, 0, 0)`, "ID-"+fmt.Sprint(i), hour(3))
		}
		if got, err := UnsafeStoredLately(deadline(t), db, noon); err != nil || len(got) != storedTenants {
			t.Errorf("%d tenants, %v, want %d", len(got), err, storedTenants)
		}
	})
}
