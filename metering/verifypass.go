package metering

import (
	"cmp"
	"context"
	"maps"
	"slices"
)

// hourPass goes through the hours of one signal beside ClickHouse's answer, which comes ordered by hour. What the ledger has of
// the hour is struck off as ClickHouse names it; what is left at the hour's end ClickHouse does not have. Not for concurrent use.
type hourPass[K cmp.Ordered] struct {
	*comparison
	signal Signal
	kind   string // of drift, for the progress

	hour int64       // whose records are in want
	want map[K]int64 // that ClickHouse has not been heard of yet

	// load reads what the ledger has of the hour; compare decides about one key of it.
	load    func(ctx context.Context) (map[K]int64, error)
	compare func(ctx context.Context, key K, want, have int64) error
}

// over compares all that each tells of, from the hour that stands in p to the end.
func (p *hourPass[K]) over(ctx context.Context, each func(see func(hour int64, key K, have int64) error) error) (err error) {
	if p.want, err = p.load(ctx); err != nil {
		return err
	}
	err = each(func(hour int64, key K, have int64) error {
		if err := p.advance(ctx, hour); err != nil {
			return err
		}
		want := p.want[key]
		delete(p.want, key)
		return p.compare(ctx, key, want, have)
	})
	if err != nil {
		return err
	}
	return p.advance(ctx, p.to)
}

// advance moves to an hour.
func (p *hourPass[K]) advance(ctx context.Context, hour int64) (err error) {
	for p.hour < hour {
		for _, key := range slices.Sorted(maps.Keys(p.want)) {
			if err := p.compare(ctx, key, p.want[key], 0); err != nil {
				return err
			}
		}
		p.tick(p.kind, p.signal, p.hour)
		p.hour += hourSeconds
		if p.hour >= p.to {
			return nil
		}
		if p.want, err = p.load(ctx); err != nil {
			return err
		}
	}
	return nil
}
