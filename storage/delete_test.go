package storage

import (
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestDeleteTenantRemovesItsRowsAlone(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	var blocks []byte
	for _, rows := range []Rows{
		logRows("gone", "shared-00", 10, day, day+1), // shared with another tenant
		logRows("gone", "gone", 10, day),             // its own partition
		logRows("goner", "goner", 5),                 // a name that begins like it
		logRows("stays", "shared-00", 5),
	} {
		blocks = rows.Block.AppendTo(blocks, 1)
	}
	chtest.Insert(t, conn, schema.Logs, blocks)
	if err := DeleteTenant(t.Context(), conn, id(t, "gone"), nil); err != nil {
		t.Fatalf("DeleteTenant: %v", err)
	}
	for name, want := range map[string]uint64{"gone": 0, "goner": 5, "stays": 5} {
		if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs WHERE TenantId = '"+name+"'"); n != want {
			t.Errorf("%d rows of %s, want %d", n, name, want)
		}
	}
	if err := DeleteTenant(t.Context(), conn, id(t, "gone"), nil); err != nil {
		t.Errorf("DeleteTenant again: %v", err)
	}
	if err := DeleteTenant(t.Context(), conn, tenant.ID{}, nil); err == nil {
		t.Error("DeleteTenant of the zero id was accepted")
	}
}
