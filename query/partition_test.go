package query

import (
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

// TestBothPartitionsOfATenantAreRead: rows stay where they were written when a tenant gets a partition of its own, or loses it.
// Of the parts of other partitions nothing is read, though a tenant's id may lie between the ids in them.
func TestBothPartitionsOfATenantAreRead(t *testing.T) {
	s := newStore(t)
	add := func(tenant, partition, body string) {
		s.insert(schema.Logs, row{"TenantId": tenant, "Partition": partition, "Timestamp": at(1), "Body": body})
	}
	add("m", chtest.Partition("m"), "shared")
	add("m", "m", "own")
	for _, other := range []string{"k", "n"} {
		add(other, "elsewhere", "of others")
	}
	rows, err := s.ask(chtest.Scope(t, "m"), hour(), "logs | project body | sort by body")
	if err != nil || len(rows) != 2 || rows[0]["body"] != "own" || rows[1]["body"] != "shared" {
		t.Errorf("rows %v, %v, want those of both partitions", rows, err)
	}
	st, err := Print(mustParse(t, "logs | project body"), chtest.Scope(t, "m"), hour())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.explain(st, "EXPLAIN indexes = 1 ", ""); !strings.Contains(got, "Parts: 2/4") {
		t.Errorf("not two of four parts are read:\n%s", got)
	}
}
