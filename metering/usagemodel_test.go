package metering

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// dated is what a model of the ledger sums by.
type dated struct {
	hour   int64
	tenant string
	signal Signal
	key    string
}

// totals sums the model as a filter asks; spans are named by the day or month that the zone's clock shows.
func totals(model map[dated]int64, f Filter, in []string) map[string]int64 {
	out := map[string]int64{}
	for d, n := range model {
		if !slices.Contains(in, d.tenant) {
			continue
		}
		layout := map[Interval]string{ByHour: time.RFC3339, ByDay: time.DateOnly, ByMonth: "2006-01"}[f.By]
		name := time.Unix(d.hour, 0).In(f.Zone).Format(layout) + " " + d.tenant
		if f.BySignal {
			name += " " + string(d.signal)
		}
		if f.ByKey {
			name += " " + d.key
		}
		out[name] += n
	}
	return out
}

// Random receipts, late ones among them, seals and corrections: hours, days and months in any zone, of a tenant, of a tree,
// apart by signal and key or not, agree with a map; so a day is the sum of its hours and of the corrections dated in it.
func TestTotalsAgreeWithAModel(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		b := newBook(t, 5)
		b.c.Set(time.Date(2025, 3, 28, 12, 0, 0, 0, time.UTC)) // Berlin and New York set their clocks in these weeks, a month ends
		model := map[dated]int64{}
		for range 200 {
			b.step(func(hour int64, tenant string, s Signal, key string, n int64) {
				model[dated{hour, tenant, s, key}] += n
			})
		}
		trees := map[string][]string{
			"ID-root":  {"ID-root", "ID-child", "ID-grandchild"},
			"ID-child": {"ID-child", "ID-grandchild"},
			"ID-other": {"ID-other"},
		}
		for root, tree := range trees {
			for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"} {
				for _, by := range []Interval{ByHour, ByDay, ByMonth} {
					f := Filter{Tenants: ids(root), Descendants: true, By: by, BySignal: b.rng.IntN(2) == 0, ByKey: b.rng.IntN(2) == 0}
					var err error
					if f.Zone, err = ParseZone(zone); err != nil {
						t.Fatal(err)
					}
					want := totals(model, f, tree)
					got := map[string]int64{}
					for _, r := range pages(t, b.ledger(), f, 1+b.rng.IntN(50)) {
						layout := map[Interval]string{ByHour: time.RFC3339, ByDay: time.DateOnly, ByMonth: "2006-01"}[by]
						name := r.Start.Format(layout) + " " + r.TenantID
						if f.BySignal {
							name += " " + r.Signal
						}
						if f.ByKey {
							name += " " + r.Key
						}
						if _, twice := got[name]; twice {
							t.Errorf("%s comes twice", name)
						}
						got[name] = r.BilledBytes
					}
					if !maps.Equal(got, want) {
						t.Errorf("%s %s by %s:\n%v, want\n%v", root, zone, by, got, want)
					}
				}
			}
			alone := Filter{Tenants: ids(root), By: ByMonth, Zone: time.UTC}
			if got, want := fmt.Sprint(billedIn(pages(t, b.ledger(), alone, 100))), fmt.Sprint(billedBy(totals(model, alone, []string{root}))); got != want {
				t.Errorf("%s alone: %s, want %s", root, got, want)
			}
		}
	})
}

func billedIn(rows []Row) (n int64) {
	for _, r := range rows {
		n += r.BilledBytes
	}
	return n
}

func billedBy(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}
