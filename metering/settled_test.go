package metering

import (
	"slices"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// What is said to be settled is what no replica that is there has yet to deliver; those that are away are named.
func TestSettledIsWhatNoReplicaHasYet(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		db := tempDB(t)
		a, b, c := newReplica(t, db, "a", noon), newReplica(t, db, "b", noon), newReplica(t, db, "c", noon)
		want := func(when string, at time.Time, away ...string) {
			t.Helper()
			before, gone, err := a.Settled(deadline(t))
			if err != nil || !before.Equal(at) || !slices.Equal(gone, away) {
				t.Errorf("%s: settled before %v, away %v, %v; want %v, %v", when, before, gone, err, at, away)
			}
		}
		want("all are there", noon.Add(-settleGrace))
		a.c.Set(noon.Add(20 * time.Second))
		want("others were seen before", noon.Add(-settleGrace))
		b.waiting.Add(logs("t", "k", 1, noon.Add(-time.Hour)))
		b.say(t, false)
		want("another waits for an old one", noon.Add(-time.Hour))
		a.waiting.Add(logs("t", "k", 1, noon.Add(-2*time.Hour)))
		want("itself waits for an older one", noon.Add(-2*time.Hour))
		a.waiting.Remove(logs("t", "k", 1, noon.Add(-2*time.Hour)))
		a.c.Set(noon.Add(10 * time.Minute))
		want("nobody was seen lately", noon.Add(10*time.Minute-settleGrace), "b", "c")
		c.c.Set(noon.Add(10*time.Minute - time.Second))
		c.say(t, false)
		want("one is back", noon.Add(10*time.Minute-time.Second-settleGrace), "b")
		c.say(t, true)
		want("it has left", noon.Add(10*time.Minute-settleGrace), "b")
	})
}
