package storage

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// gone lets a test say who is deleted.
func gone(name string, now *atomic.Bool) func(string) bool {
	return func(tenant string) bool { return tenant == name && now.Load() }
}

// What a log holds of a deleted tenant does not reach ClickHouse, and what was acked is billed all the same.
func TestRowsOfADeletedTenantAreDroppedAndBilled(t *testing.T) {
	var deleted atomic.Bool
	r := newRig(t, LogOptions{Gone: gone("gone", &deleted)})
	r.open()
	r.mustAppend("gone", 5)
	r.mustAppend("stays", 7)
	r.mustAppend("gone", 3)
	if _, cleared := r.log.Cleared(id(t, "gone"), time.Now()); cleared {
		t.Error("a log with rows of the tenant says that it sends none")
	}
	deleted.Store(true)
	since := time.Now()
	r.run()
	r.settled()
	r.wantRows("gone", 0)
	r.wantRows("stays", 7)
	r.wantReceipts(3)
	d, cleared := r.log.Cleared(id(t, "gone"), since)
	if want := (Dropped{Requests: 2, Rows: 8}); !cleared || d != want {
		t.Errorf("Cleared = %+v, %v, want %+v", d, cleared, want)
	}
	if n := r.count("headgate_storage_purged_rows_total"); n != 8 {
		t.Errorf("%v rows are counted", n)
	}
}

// A process was killed while it sent a run, and comes back when the tenant is no more: of its run the others' rows are there once,
// the tenant's not at all, in whatever partition they were.
func TestALogThatComesBackDropsADeletedTenant(t *testing.T) {
	var deleted atomic.Bool
	r := newRig(t, LogOptions{Gone: gone("gone", &deleted)})
	r.open()
	r.ledger.fail.Store(true) // ClickHouse takes the run, the ledger does not: nobody knows how far it came
	r.mustAppend("gone", 5, day)
	r.mustAppend("stays", 7, day)
	if err := r.appendRows("gone", logRows("gone", "gone", 4, day)); err != nil {
		t.Fatal(err)
	}
	r.run()
	timetest.Eventually(t, "the rows", func() bool {
		return scan[uint64](t, r.conn, "SELECT count() FROM otel_logs") == 16
	})
	if _, cleared := r.log.Cleared(id(t, "gone"), time.Now()); cleared {
		t.Error("a log whose run is under way says that it sends nothing")
	}
	r.close() // killed
	r.open()  // and away: it holds requests that nobody waits for
	r.mustAppend("gone", 2, day)
	r.close()
	deleted.Store(true)
	if err := DeleteTenant(t.Context(), r.conn, id(t, "gone"), nil); err != nil {
		t.Fatal(err)
	}
	r.ledger.fail.Store(false)
	r.restart()
	r.settled()
	r.wantRows("gone", 0)
	r.wantRows("stays", 7)
	r.wantReceipts(4)
}

// Requests that ClickHouse had refused are removed with their tenant, whether their replay was asked for or not; others' stay.
func TestWhatWasSetAsideGoesWithItsTenant(t *testing.T) {
	var deleted atomic.Bool
	r := newRig(t, LogOptions{Gone: gone("gone", &deleted)})
	r.open()
	for i, tenant := range []string{"gone", "gone", "stays"} {
		h := head{signal: "logs", tenant: tenant, tables: []tableHead{{table: schema.Logs, rows: 1}}}
		if err := r.log.setAside(aside{at: position(i + 1), entry: h.appendTo(nil), reason: "Body: " + tenant}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Replay(r.dir, "0000000000000002"); err != nil {
		t.Fatal(err)
	}
	if n, err := r.log.AsideOf(id(t, "gone")); n != 2 || err != nil {
		t.Errorf("AsideOf = %d, %v", n, err)
	}
	deleted.Store(true)
	if err := r.log.purgeAside(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.log.AsideOf(id(t, "gone")); n != 0 || err != nil {
		t.Errorf("AsideOf = %d, %v", n, err)
	}
	files, err := filepath.Glob(filepath.Join(r.dir, asideDir, "*"))
	if err != nil || len(files) != 2 {
		t.Errorf("files %v, %v", files, err)
	}
	for _, f := range files {
		if text, _ := os.ReadFile(f); strings.Contains(string(text), "gone") {
			t.Errorf("%s still speaks of the tenant", f)
		}
	}
	if d, _ := r.log.Cleared(id(t, "gone"), time.Now()); d.Aside != 2 {
		t.Errorf("dropped %+v", d)
	}
}

// Whose a request is must be known for as long as it is there: its reason stays where the entry cannot be removed.
func TestTheReasonStaysWithAnEntryThatCannotBeRemoved(t *testing.T) {
	var deleted atomic.Bool
	r := newRig(t, LogOptions{Gone: gone("gone", &deleted)})
	r.open()
	h := head{signal: "logs", tenant: "gone", tables: []tableHead{{table: schema.Logs, rows: 1}}}
	if err := r.log.setAside(aside{at: 1, entry: h.appendTo(nil), reason: "Body"}); err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(r.dir, asideDir, "0000000000000001"+asideEntry)
	if err := os.Remove(entry); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(entry, "held"), 0o700); err != nil { // not empty: it cannot be removed
		t.Fatal(err)
	}
	deleted.Store(true)
	if err := r.log.purgeAside(); err == nil {
		t.Error("that nothing could be removed is no error")
	}
	if n, err := r.log.AsideOf(id(t, "gone")); n != 1 || err != nil {
		t.Errorf("AsideOf = %d, %v, want 1", n, err)
	}
	if err := os.Remove(filepath.Join(entry, "held")); err != nil {
		t.Fatal(err)
	}
	if err := r.log.purgeAside(); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(filepath.Join(r.dir, asideDir)); len(files) != 0 || err != nil {
		t.Errorf("left are %v, %v", files, err)
	}
}

// Tables that nobody knew of when the code was written are found by their column, and emptied.
func TestDeletionFindsEveryTableWithTenants(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	for _, sql := range []string{
		"CREATE TABLE `side ``table` (TenantId String, N UInt8) ENGINE = MergeTree ORDER BY N",
		"CREATE TABLE by_tenant (TenantId String, N UInt8) ENGINE = MergeTree PARTITION BY (TenantId, N) ORDER BY N",
		"CREATE TABLE by_service (Service String, TenantId String) ENGINE = MergeTree PARTITION BY (Service, length(TenantId)) ORDER BY TenantId",
		"CREATE VIEW looking AS SELECT TenantId FROM by_tenant",
		"INSERT INTO `side ``table` VALUES ('gone', 1), ('stays', 1)",
		"INSERT INTO by_tenant VALUES ('gone', 1), ('stays', 1)",
		// A tenant that calls its service as another tenant is called does not lose its rows.
		"INSERT INTO by_service VALUES ('gone', 'stays'), ('x', 'gone')",
	} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := DeleteTenant(t.Context(), conn, id(t, "gone"), nil); err != nil {
		t.Fatal(err)
	}
	counts, err := CountTenant(t.Context(), conn, id(t, "gone"))
	if err != nil || len(counts) != len(schema.All)+3 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	for _, c := range counts {
		if c.Rows != 0 {
			t.Errorf("%+v", c)
		}
	}
	for _, table := range []string{"`side ``table`", "by_tenant", "by_service"} {
		if n := scan[uint64](t, conn, "SELECT count() FROM "+table+" WHERE TenantId = 'stays'"); n != 1 {
			t.Errorf("%d rows of the neighbour in %s, want 1", n, table)
		}
	}
}

// A rewriting that is under way when the deletion is called again is waited for, and not asked for a second time.
func TestADeletionThatIsCalledAgainAsksForNothingTwice(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	var blocks []byte
	for _, tenant := range []string{"gone", "stays"} {
		blocks = logRows(tenant, "shared-00", 10, day).Block.AppendTo(blocks, 1)
	}
	chtest.Insert(t, conn, schema.Logs, blocks)
	for _, sql := range []string{"SYSTEM STOP MERGES otel_logs", "ALTER TABLE otel_logs DELETE WHERE TenantId = 'gone' SETTINGS mutations_sync = 0"} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan string, 1000)
	done := make(chan error, 1)
	go func() { done <- DeleteTenant(t.Context(), conn, id(t, "gone"), func(s string) { told <- s }) }()
	select {
	case s := <-told:
		if !strings.Contains(s, "otel_logs (1 of 9): 1 parts are being rewritten") {
			t.Errorf("told %q", s)
		}
	case err := <-done:
		t.Fatalf("DeleteTenant did not wait: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("DeleteTenant tells nothing")
	}
	if err := conn.Exec(t.Context(), "SYSTEM START MERGES otel_logs"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM system.mutations WHERE database = currentDatabase()"); n != 1 {
		t.Errorf("%d rewritings, want the one that was under way", n)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM otel_logs"); n != 10 {
		t.Errorf("%d rows are left, want the neighbour's 10", n)
	}
}
