package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// sources names each signal in the query language.
var sources = map[string]string{logs: "logs", traces: "spans", metrics: `metrics("level")`}

// stored is what a tenant's queries return: by signal, how often each record is there.
type stored map[string]map[string]int

// flushed waits until ClickHouse and the ledger have what was acknowledged.
func (s *server) flushed() {
	s.t.Helper()
	waitFor(s.t, "the log to be flushed", func() bool {
		resp, err := http.Get("http://" + s.addr.Telemetry + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(text), "\nheadgate_storage_log_requests 0\n")
	})
}

func (s *server) stored(k key) stored {
	s.t.Helper()
	s.flushed()
	found := stored{}
	for signal, source := range sources {
		// Not an error: for a moment after a restart of the engine a query is refused as unavailable.
		var out string
		waitFor(s.t, "an answer to a query", func() (ok bool) {
			var err error
			out, err = s.try("query", "--key", k.Key, "--format", "ndjson", source+` | project seq=attr["seq"] | limit 100000`)
			return err == nil && !strings.Contains(out, `{"error"`)
		})
		found[signal] = map[string]int{}
		lines := bufio.NewScanner(strings.NewReader(out))
		for lines.Scan() {
			var row struct{ Seq string }
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				s.t.Fatalf("query printed %q: %v", lines.Text(), err)
			}
			found[signal][row.Seq]++
		}
	}
	return found
}

// rows is how many rows there are, and distinct how many different records.
func (s stored) count() (rows, distinct int) {
	for _, ids := range s {
		distinct += len(ids)
		for _, n := range ids {
			rows += n
		}
	}
	return rows, distinct
}

// verify holds a client's tally against what is stored, and returns its line of the table.
func verify(t *testing.T, s *server, scenario string, r *run, p plan) line {
	t.Helper()
	got := s.stored(r.reader)
	rows, distinct := got.count()
	r.tally.mu.Lock()
	defer r.tally.mu.Unlock()
	l := line{scenario, r.client.name, r.tally.sent, r.tally.acked, r.tally.rejected, r.tally.retried, r.tally.dropped, r.tally.held, distinct, rows - distinct}
	fail := func(format string, args ...any) {
		t.Errorf("%s, %s: %s", scenario, r.client.name, fmt.Sprintf(format, args...))
	}
	if l.sent == 0 || l.acked+l.rejected+l.dropped+l.held != l.sent {
		fail("the tally does not add up: %+v", l)
	}
	if distinct < l.acked {
		fail("%d records acked, %d stored", l.acked, distinct)
	}
	for _, batch := range r.tally.batches { // each record of an acked batch, where the client tells the batch
		for i := range p.good() {
			if got[p.signal(batch)][seq(batch, i)] == 0 {
				fail("record %s of %s is acked and not stored", seq(batch, i), p.signal(batch))
			}
		}
	}
	if l.doubled != 0 {
		fail("%d records are stored more than once, after %d retries", l.doubled, l.retried)
	}
	for signal, ids := range got {
		for id := range ids {
			var batch, record int
			if n, err := fmt.Sscanf(id, "%d.%d", &batch, &record); n != 2 || err != nil || batch >= p.batches || record >= p.good() || p.signal(batch) != signal {
				fail("record %q of %s was not sent, or had to be rejected", id, signal)
			}
		}
	}
	if billed := s.billed(r.tenant); billed != rows {
		fail("%d records billed, %d rows stored", billed, rows)
	}
	return l
}
