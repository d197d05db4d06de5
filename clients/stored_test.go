package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// sources names each signal in the query language.
var sources = map[string]string{logs: "logs", traces: "spans", metrics: `metrics("level")`}

// stored is what a tenant's queries return: by signal, how often each record is there.
type stored map[string]map[string]int

func (s *server) stored(k key) stored {
	s.t.Helper()
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
	if l.doubled > l.retried*p.records {
		fail("%d records are doubled by %d retries of %d records", l.doubled, l.retried, p.records)
	}
	for signal, ids := range got {
		for id := range ids {
			var batch, record int
			if n, err := fmt.Sscanf(id, "%d.%d", &batch, &record); n != 2 || err != nil || batch >= p.batches || record >= p.good() || p.signal(batch) != signal {
				fail("record %q of %s was not sent, or had to be rejected", id, signal)
			}
		}
	}
	if billed := s.billed(r.tenant); billed < l.acked || billed > rows {
		fail("%d records billed, %d acked, %d rows stored", billed, l.acked, rows)
	}
	return l
}
