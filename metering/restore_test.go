package metering

import (
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tenant"
)

func TestRestartKnowsTheDaysUse(t *testing.T) { storetest.Each(t, testRestartKnowsTheDaysUse) }

func testRestartKnowsTheDaysUse(t *testing.T) {
	path := storetest.Place(t)
	db := openDB(t, path)
	addTenant(t, db, "root", "")
	addTenant(t, db, "p", "ID-root")
	addTenant(t, db, "a", "ID-p")
	addTenant(t, db, "b", "ID-root")
	l := newTestLedger(db)
	runs := uint64(0)
	rec := func(r Receipt) {
		t.Helper()
		runs++
		apply(t, l, testLog, runs, true, r)
	}
	midnight := noon.Truncate(24 * time.Hour)
	rec(logs("ID-a", "ka", 1_000_000, noon.AddDate(0, 0, -2))) // forgotten
	rec(logs("ID-a", "ka", 1, midnight.Add(-1)))
	rec(logs("ID-a", "ka", 10, midnight))
	rec(logs("ID-a", "ka", 20, noon))
	rec(logs("ID-a", "ka2", 40, noon))
	rec(Receipt{Tenant: id("ID-p"), Key: "kp", Signal: Metrics, ReceivedAt: noon, BilledBytes: 100})
	rec(Receipt{Tenant: id("ID-b"), Key: "kb", Signal: Traces, ReceivedAt: noon, BilledBytes: 500, OverageBytes: 7})
	rec(Receipt{Tenant: id("ID-b"), Key: "kb", Signal: Traces, ReceivedAt: noon, UnbilledBytes: 5000}) // not counted
	db.Close()

	m := openMeter(t, openDB(t, path), noon)
	yesterday := midnight.Add(-1)
	wantUsed(t, m, true, "ka", noon, 30)
	wantUsed(t, m, true, "ka2", noon, 40)
	for owner, want := range map[string]int64{"ID-a": 70, "ID-p": 170, "ID-b": 500, "ID-root": 670} {
		wantUsed(t, m, false, owner, noon, want)
	}
	wantUsed(t, m, false, "ID-root", yesterday, 1)
	if _, err := m.Admit(charge("ID-a", "ka", tenant.Refuse, tenant.Unlimited, tenant.Unlimited), 1, noon.AddDate(0, 0, -2)); err == nil {
		t.Error("a day that was not read is admitted to")
	}
	// Overage goes on where it was.
	r, err := m.Admit(charge("ID-b", "kb", tenant.Bill, tenant.Unlimited, 493), 3, noon)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := r.Settle(Outcome{Signal: Logs, Bytes: 3})
	if err != nil {
		t.Fatal(err)
	}
	l = newTestLedger(openDB(t, path))
	apply(t, l, testLog, 100, true, rc)
	wantOverage(t, l, 7+3)
}

func TestDamagedTreeDoesNotHangTheStart(t *testing.T) {
	storetest.Each(t, testDamagedTreeDoesNotHangTheStart)
}

func testDamagedTreeDoesNotHangTheStart(t *testing.T) {
	db := tempDB(t)
	addTenant(t, db, "a", "")
	addTenant(t, db, "b", "ID-a")
	apply(t, newTestLedger(db), testLog, 1, true, logs("ID-b", "k", 1, noon))
	setParent(t, db, "ID-a", "ID-b")
	openMeter(t, db, noon)
}
