package prom

import (
	"context"

	"github.com/headgate-io/headgate/query"
)

// target returns the target_info of a series' resource, nil if it has none or it does not match.
func (a *assembly) target(r *seriesRow) *series {
	lbls := a.label.info(r)
	if lbls.IsEmpty() {
		return nil
	}
	return a.series(lbls, targetInfo, "", "")
}

// loadTargets reads when the resources asked for sent points. target_info is 1 at the last point of each minute.
func (a *assembly) loadTargets(ctx context.Context) error {
	if len(a.targets) == 0 {
		return nil
	}
	start, end, ok := span(a.mint, a.maxt)
	if !ok {
		return nil
	}
	byKey, present := map[seriesKey]*series{}, map[string]bool{}
	for i := range a.targets {
		r := &a.targets[i]
		if s := a.target(r); s != nil {
			byKey[seriesKey{r.tenant, r.id}], present[r.kind] = s, true
		}
	}
	for _, kind := range kinds {
		if !present[kind] {
			continue
		}
		st, err := query.PrintPresence(a.scope, query.Points{
			Start: start, End: end, Tenants: a.tenants, Table: tableOf[kind], Limit: a.limits.MaxSeries + 1,
		})
		if err != nil {
			return err
		}
		err = a.rows(ctx, st, func(b *binaryReader) error {
			s := byKey[seriesKey{b.text(), b.uint64()}]
			times := words(b, nil, asInt64)
			if s == nil {
				return nil
			}
			for _, t := range times {
				s.points = append(s.points, point{nanos: t * 1e6, value: 1})
			}
			// Many series of one resource say the same.
			before := len(s.points) - len(times)
			s.points = order(s.points, minute)
			return a.load(max(0, len(s.points)-before))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func minute(nanos int64) int64 { return nanos / 60e9 }
