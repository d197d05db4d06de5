package storage

// knownSeries remembers which series otel_metrics_series has: so much of it as this process wrote itself, since nobody asks
// ClickHouse. What it forgets, and everything after a start, is written again, which changes nothing but costs an INSERT. It
// is of one lane and has no lock.
//
// It holds maxKnownSeries ids at most, of all tenants and days together, up to 40 bytes each: 80 MiB in all. Beyond that it
// forgets whole places, the one that was used least recently first: that is mostly a day that is over.
type knownSeries struct {
	places map[seriesPlace]*seriesIDs
	ids    int // of all places
	turn   uint64
	max    int
}

// seriesPlace is what rows of otel_metrics_series have in common that stand for points received on the same day. Where one
// of these changes another row is due: it lies in another partition, or has to be kept for longer.
type seriesPlace struct {
	tenant, placement string
	retention         uint16
	received          uint16 // the UTC day, since 1970-01-01
	day               uint16 // of the points' time
}

type seriesIDs struct {
	ids  map[uint64]struct{}
	used uint64 // the turn
}

const maxKnownSeries = 2 << 20

func newKnownSeries(max int) *knownSeries {
	return &knownSeries{places: map[seriesPlace]*seriesIDs{}, max: max}
}

// at returns the ids of a place, nil if there are none.
func (k *knownSeries) at(p seriesPlace) map[uint64]struct{} {
	s := k.places[p]
	if s == nil {
		return nil
	}
	k.turn++
	s.used = k.turn
	return s.ids
}

// add adds an id to a place and reports whether it is new there.
func (k *knownSeries) add(p seriesPlace, id uint64) bool {
	s := k.places[p]
	if s == nil {
		s = &seriesIDs{ids: map[uint64]struct{}{}}
		k.places[p] = s
	}
	k.turn++
	s.used = k.turn
	if _, ok := s.ids[id]; ok {
		return false
	}
	s.ids[id] = struct{}{}
	k.ids++
	return true
}

// addAll adds all ids of o, then forgets what is too many.
func (k *knownSeries) addAll(o *knownSeries) {
	for p, s := range o.places {
		for id := range s.ids {
			k.add(p, id)
		}
	}
	for k.ids > k.max {
		var oldest seriesPlace
		least := ^uint64(0)
		for p, s := range k.places {
			if s.used < least {
				oldest, least = p, s.used
			}
		}
		k.forget(oldest)
	}
}

func (k *knownSeries) forget(p seriesPlace) {
	k.ids -= len(k.places[p].ids)
	delete(k.places, p)
}

// forgetTenant forgets what a tenant has: its rows are deleted.
func (k *knownSeries) forgetTenant(tenant string) {
	for p := range k.places {
		if p.tenant == tenant {
			k.forget(p)
		}
	}
}
