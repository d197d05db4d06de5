package tenant

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// sharedPartitions is how many partitions the tenants share that have none of their own.
//
// It never changes: a tenant's rows are looked for in two partitions alone (Scope.Partitions), those written long ago too.
const sharedPartitions = 16

// Partition is the value of the column Partition in a tenant's rows: a partition of its own, or one that it shares with others.
// Which of the two, an operator chooses at any time; rows stay where they were written.
func (id ID) Partition(own bool) string {
	if own {
		return id.s
	}
	h := fnv.New32a()
	h.Write([]byte(id.s))
	return fmt.Sprintf("shared-%02d", h.Sum32()%sharedPartitions)
}

// Partitions returns every value that the column Partition can have in rows of the scope's tenants, in order: "" too, the
// column's default, for rows that headgate did not write. The caller owns the slice.
func (s Scope) Partitions() []string {
	out := make([]string, 1, 1+2*len(s.ids))
	for _, id := range s.ids {
		out = append(out, id.Partition(true), id.Partition(false))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Among returns those tenants of s that are in ids; the zero value if none is.
func (s Scope) Among(ids []string) Scope {
	var kept []ID
	for _, id := range s.ids {
		if slices.Contains(ids, id.s) {
			kept = append(kept, id)
		}
	}
	return Scope{ids: kept, payer: s.payer}
}
