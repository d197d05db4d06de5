package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/timetest"
)

// A tenant is deleted while its neighbours send, and headgate, the engine or both are killed all the while. The deletion ends, with a
// certificate; its neighbours have every acked record once and are billed to the byte.
func TestKillsDoNotStopADeletionNorTouchNeighbours(t *testing.T) {
	kills := number(t, killsVar, 4)
	seed := number(t, seedVar, int(time.Now().UnixNano()&0xffffff))
	t.Logf("%d kills, seed %d (%s=%d repeats them)", kills, seed, seedVar, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 2))
	d := newLoad(t, loadOptions{})
	for round, left := 0, kills; left > 0; round++ {
		name := fmt.Sprintf("gone%d", round)
		d.p.cli("tenant", "create", name, "--placement", []string{"shared", "own"}[round%2])
		key := d.p.key(name, "ingest")
		for n := range int64(20) {
			body, _ := d.numbered(name, n)
			if status, text, err := d.p.post(t.Context(), "/v1/logs", "application/x-protobuf", key, body); err != nil || status != 200 {
				t.Fatalf("request of %s: %d %s %v", name, status, text, err)
			}
		}
		if round%3 > 0 { // else much of it is still in the log
			d.p.settledMore(t)
		}
		d.p.cli("tenant", "disable", name)
		d.p.cli("tenant", "delete", name, "--yes", "--wait=false")
		for deletion := d.deletion(name); deletion.EndedAt == nil; deletion = d.deletion(name) {
			if left == 0 {
				timetest.Eventually(t, "the deletion to end", func() bool { return d.deletion(name).EndedAt != nil })
				break
			}
			// Later steps are short: a kill waits for one of them, or the end.
			for later := random.IntN(4) > 0; later && deletion.Step == auth.DeletionLogs && deletion.EndedAt == nil; {
				deletion = d.deletion(name)
			}
			if deletion.EndedAt != nil {
				break
			}
			left--
			t.Logf("%s: kill in step %s", name, deletion.Step)
			if random.IntN(3) > 0 {
				d.signalEngine(syscall.SIGKILL)
			}
			if random.IntN(3) > 0 {
				d.restart()
			}
			d.acks(int64(random.IntN(20)))
		}
		d.certified(name)
		if round > kills {
			break // deletions that are faster than kills
		}
	}
	d.finish()
}

func (d *load) deletion(name string) control.Deletion {
	d.t.Helper()
	return unmarshal[control.Deletion](d.t, d.p.cli("tenant", "deletion", name, "--json"))
}

// certified checks the certificate of a deletion.
func (d *load) certified(name string) {
	d.t.Helper()
	c := d.deletion(name).Certificate
	if c == nil || c.SHA256 != c.Sum() || len(c.Checks) < 8+len(c.Kept) {
		d.t.Fatalf("certificate of %s: %+v", name, c)
	}
	for _, check := range c.Checks {
		if check.Rows != 0 {
			d.t.Errorf("%s: %+v", name, check)
		}
	}
	keys := false
	for _, r := range c.Removed {
		keys = keys || r == auth.Removed{Store: auth.InState, Table: "api_keys", Rows: 1}
	}
	if !keys {
		d.t.Errorf("%s: the certificate does not have its key: %+v", name, c.Removed)
	}
	if out := d.p.cli("tenant", "list"); strings.Contains(out, name+" ") {
		d.t.Errorf("%s is listed:\n%s", name, out)
	}
}

// settledMore waits until many more requests are in ClickHouse, while others send.
func (p *process) settledMore(t *testing.T) {
	t.Helper()
	settled := p.metric("headgate_storage_settled_requests_total")
	timetest.Eventually(t, "some requests to be settled", func() bool { return p.metric("headgate_storage_settled_requests_total") > settled+50 })
}
