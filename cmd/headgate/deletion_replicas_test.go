package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/otlpgen"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/storage/schema"
)

// holdVar is a point of a deletion and a file: a headgate that reaches the point writes the file and goes no further.
const holdVar = "HEADGATE_TEST_HOLD_DELETION"

func holdDeletion(at string) func(point string) {
	where, file, ok := strings.Cut(at, "@")
	if !ok {
		return nil
	}
	return func(point string) {
		if point == where {
			_ = os.WriteFile(file, nil, 0o600)
			select {} // to be killed
		}
	}
}

// deletionPoints are all that control.Deleter tells of.
var deletionPoints = []string{"logs", "rows", "rows done", "state", "state done", "verify", "verify done", "done"}

// Tenants are deleted on two replicas, which are killed in each step of it, while a third is away with requests of theirs in its log
// and others send. Each deletion ends; neighbours in the same partitions have all their rows, to the column; and the third, back,
// takes nothing of the deleted to ClickHouse, and everything of the others.
func TestADeletionIsKilledInEveryStepOnReplicas(t *testing.T) {
	points := deletionPoints
	if number(t, killsVar, 0) == 0 {
		points = []string{"state", "verify", deletionPoints[rand.IntN(len(deletionPoints))]}
	}
	t.Logf("killed at %q", points)
	d := newDeletionRig(t)
	for i := range points {
		d.addGone(i)
	}
	before := d.neighbours()
	d.loseC()
	for i, point := range points {
		d.deleteKilled(fmt.Sprintf("gone%d", i), point)
		if after := d.neighbours(); after != before {
			t.Errorf("killed at %q: neighbours have %s, had %s", point, after, before)
		}
	}
	d.stop()
	d.bringBackC(len(points))
	if after := d.neighbours(); after != before {
		t.Errorf("at the end neighbours have %s, had %s", after, before)
	}
}

// deletionRig is three replicas, neighbours that do not change, and one that sends all the while.
type deletionRig struct {
	*replicas
	t       *testing.T
	dirs    []string
	a, b, c *process
	static  []string                // ids of neighbours
	shares  map[string]bool         // their partitions
	gone    []string                // ids
	live    atomic.Pointer[process] // where is sent to
	liveKey string
	sent    int // records of the live one that were acked
	ended   atomic.Bool
	sending sync.WaitGroup
}

const neighbours = 24

func newDeletionRig(t *testing.T) *deletionRig {
	d := &deletionRig{replicas: newReplicas(t), t: t, dirs: []string{t.TempDir(), t.TempDir(), t.TempDir()}, shares: map[string]bool{}}
	d.a, d.b = d.serveIn(d.dirs[0]), d.serveIn(d.dirs[1])
	// To the third ClickHouse is away, so that its log keeps what it acks.
	d.c = serveOn(t, d.dirs[2], append(slices.Clone(d.args), "--secrets-dir", d.secrets, "--clickhouse", "http://"+freePort(t)+"/telemetry")...)
	d.c.secrets = d.secrets
	var keys []string
	for i := range neighbours {
		made := d.create(fmt.Sprintf("stays%d", i))
		d.static, d.shares[made.Partition] = append(d.static, made.ID), true
		keys = append(keys, d.a.key(made.Name, "ingest"))
	}
	for i, key := range keys {
		d.post(d.a, key, uint64(i))
	}
	d.create("live")
	d.liveKey = d.a.key("live", "ingest")
	timetest.Eventually(t, "the key at the third", func() bool {
		status, _, err := d.c.post(t.Context(), "/v1/logs", "application/json", d.liveKey, []byte(record("at c 0")))
		return err == nil && status == 200
	})
	for i := range 4 {
		d.c.mustPost("/v1/logs", d.liveKey, record(fmt.Sprintf("at c %d", i+1)))
	}
	d.sent = 5
	d.live.Store(d.b)
	d.sending.Go(d.send)
	t.Cleanup(d.stop)
	return d
}

func (d *deletionRig) create(name string, more ...string) control.Tenant {
	return unmarshal[control.Tenant](d.t, d.a.cli(append([]string{"tenant", "create", name, "--json"}, more...)...))
}

func (d *deletionRig) post(p *process, key string, seed uint64) {
	d.t.Helper()
	timetest.Eventually(d.t, "an ack", func() bool {
		status, _, err := p.post(d.t.Context(), "/v1/logs", "application/x-protobuf", key, otlpgen.Logs(seed, 50))
		return err == nil && status == 200
	})
}

// send sends one record after the other, each until it is acked, to whichever process serves.
func (d *deletionRig) send() {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for n := 0; !d.ended.Load(); n++ {
		body := []byte(record(fmt.Sprintf("live %d", n)))
		for {
			status, _, err := d.live.Load().post(d.t.Context(), "/v1/logs", "application/json", d.liveKey, body)
			if err == nil && status == 200 {
				d.sent++
				break
			}
			if d.ended.Load() {
				return
			}
			<-pace.C
		}
		<-pace.C
	}
}

// stop ends the sending; what was sent last may be unacked, and is not counted by anyone.
func (d *deletionRig) stop() {
	d.ended.Store(true)
	d.sending.Wait()
}

// addGone makes a tenant that shares its partition with a neighbour, or has its own, and sends to all replicas.
func (d *deletionRig) addGone(i int) {
	d.t.Helper()
	name := fmt.Sprintf("gone%d", i)
	var made control.Tenant
	if i%3 == 2 {
		made = d.create(name, "--placement", "own")
	} else {
		for try := 0; ; try++ {
			if made = d.create(fmt.Sprintf("%s-%d", name, try)); d.shares[made.Partition] {
				break
			}
		}
		made = unmarshal[control.Tenant](d.t, d.a.asOperator("PATCH", "/api/v1/tenants/"+made.ID, `{"name":"`+name+`"}`))
	}
	key := d.a.key(name, "ingest")
	d.gone = append(d.gone, made.ID)
	for j, p := range []*process{d.a, d.b, d.c} {
		d.post(p, key, uint64(1000+3*i+j))
	}
}

// neighbours is a checksum over all rows and columns of the neighbours.
func (d *deletionRig) neighbours() string {
	d.t.Helper()
	d.a.flushed()
	return rowsSum(d.t, d.telemetry(), schema.Logs, "TenantId IN ('"+strings.Join(d.static, "', '")+"')")
}

// loseC kills the third with requests in its log, two minutes ago as far as the others know.
func (d *deletionRig) loseC() {
	d.t.Helper()
	if n := d.c.metric("headgate_storage_log_requests"); n < 6 {
		d.t.Fatalf("the third has only %v requests in its log", n)
	}
	d.c.end(syscall.SIGKILL)
	db, err := store.Open(d.pg.URL())
	if err != nil {
		d.t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(d.t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(d.t.Context(), `UPDATE replicas SET seen_at = seen_at - 120000 WHERE log_id = ?`, d.logOf(2))
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *deletionRig) logOf(i int) string {
	d.t.Helper()
	raw, err := os.ReadFile(filepath.Join(d.dirs[i], replicaFile))
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// restart kills both and starts them anew.
func (d *deletionRig) restart() {
	d.t.Helper()
	d.a.end(syscall.SIGKILL)
	d.b.end(syscall.SIGKILL)
	d.a, d.b = d.serveIn(d.dirs[0]), d.serveIn(d.dirs[1])
	d.live.Store(d.b)
}

// deleteKilled deletes a tenant whose deletion is killed at the point.
func (d *deletionRig) deleteKilled(name, point string) {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "held")
	d.t.Setenv(holdVar, point+"@"+file)
	d.restart()
	d.t.Setenv(holdVar, "")
	d.a.cli("tenant", "disable", name)
	d.a.cli("tenant", "delete", name, "--yes", "--wait=false")
	timetest.Eventually(d.t, "the deletion to reach "+point, func() bool { _, err := os.Stat(file); return err == nil })
	d.restart()
	var last control.Deletion
	timetest.Eventually(d.t, "the deletion to end", func() bool {
		last = unmarshal[control.Deletion](d.t, d.b.cli("tenant", "deletion", name, "--json"))
		return last.EndedAt != nil
	})
	c := last.Certificate
	if c == nil || c.SHA256 != c.Sum() || !slices.Equal(c.Away, []string{d.logOf(2)}) {
		d.t.Fatalf("killed at %q: certificate %+v", point, c)
	}
	rows, keys := int64(0), int64(0)
	for _, r := range c.Removed {
		switch r.Table {
		case schema.Logs:
			rows += r.Rows
		case "api_keys":
			keys += r.Rows
		}
	}
	dropped := int64(0)
	for _, log := range c.Logs {
		dropped += int64(log.Rows)
	}
	if rows+dropped != 100 || keys != 1 {
		d.t.Errorf("killed at %q: %d rows and %d keys were removed, %d rows dropped; want 100 rows and a key: %+v", point, rows, keys, dropped, c)
	}
	for _, check := range c.Checks {
		if check.Rows != 0 {
			d.t.Errorf("killed at %q: %+v", point, check)
		}
	}
}

// bringBackC starts the third again: of its log what is others' arrives.
func (d *deletionRig) bringBackC(deleted int) {
	d.t.Helper()
	c := d.serveIn(d.dirs[2])
	for _, p := range []*process{d.a, d.b, c} {
		p.flushed()
	}
	if n := c.metric("headgate_storage_purged_rows_total"); n != float64(50*deleted) {
		d.t.Errorf("the third has dropped %v rows, want %d", n, 50*deleted)
	}
	conn := d.telemetry()
	for _, table := range schema.All {
		if n := scanOne[uint64](d.t, conn, "SELECT count() FROM "+table+" WHERE TenantId IN ('"+strings.Join(d.gone, "', '")+"')"); n != 0 {
			d.t.Errorf("%d rows of deleted tenants in %s", n, table)
		}
	}
	const live = " FROM " + schema.Logs + " WHERE Body LIKE 'live %' OR Body LIKE 'at c %'"
	n, distinct := scanOne[uint64](d.t, conn, "SELECT count()"+live), scanOne[uint64](d.t, conn, "SELECT uniqExact(Body)"+live)
	if more := int(n) - d.sent; n != distinct || more < 0 || more > 1 { // the last may be there without its ack
		d.t.Errorf("%d records, %d of them distinct, of who sent meanwhile; acked were %d", n, distinct, d.sent)
	}
	if n := scanOne[uint64](d.t, conn, "SELECT count() FROM "+schema.Logs+" WHERE Body LIKE 'at c %'"); n != 5 {
		d.t.Errorf("%d records of the third's log, want 5", n)
	}
}
