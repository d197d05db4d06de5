package metering

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// StoredLimits is Meter.Limits for a process that admits nothing: of a day's bytes, what each replica has billed or leased counts as used,
// so that it is right to the byte where nobody sends, and otherwise ahead by leases that are not used up. How fast a day is used is that of
// all replicas, as far as it is billed. What is spent of rates and what is in flight each replica knows alone: it is unknown here. kept
// returns what a tenant and its descendants keep, and whether that is known.
//
// SECURITY: as there, limits of ancestors are left out.
func StoredLimits(ctx context.Context, db *store.DB, c Charge, kept func(tenant.ID) (int64, bool), at time.Time) ([]LimitState, error) {
	m := newMeter(dayOf(at)-1, nil)
	var s storedUse
	err := db.View(ctx, func(tx *store.Tx) error {
		s = storedUse{bytes: map[logAccount]int64{}, paces: map[accountKey]pace{}}
		return s.read(ctx, tx, c.Limits, m.floor)
	})
	if err != nil {
		return nil, fmt.Errorf("read the use of limits: %w", err)
	}
	days := map[accountKey]int64{}
	for k, n := range s.bytes {
		days[k.accountKey] += n
	}
	for _, k := range slices.SortedFunc(maps.Keys(days), accountKey.compare) {
		use, err := m.ownerLocked(ownerKey{k.key, k.id}).account(k.signal, m.floor).day(k.day, &m.pushedOut)
		if err != nil {
			return nil, err
		}
		use.used, use.pace = days[k], s.paces[k]
	}
	if n, known := kept(c.Tenant); known {
		m.SetStorage(map[string]int64{c.Tenant.String(): n})
	}
	out, err := m.Limits(c, at)
	for i := range out {
		out[i].UseUnknown = out[i].Limit > 0 && countedAlone(out[i].ID)
	}
	return out, err
}

// LimitsAmong is Limits of one of several replicas on db: how fast a day is used is that of all of them, as far as it is billed, or this
// one's alone if that is faster, or if the database does not answer.
func (m *Meter) LimitsAmong(ctx context.Context, db *store.DB, c Charge, at time.Time) ([]LimitState, error) {
	own, err := m.Limits(c, at)
	if err != nil {
		return nil, err
	}
	all, err := StoredLimits(ctx, db, c, func(tenant.ID) (int64, bool) { return 0, false }, at)
	if err != nil {
		return own, nil
	}
	for i := range own {
		s := &own[i]
		if all[i].PerSecond <= s.PerSecond {
			continue
		}
		s.PerSecond, s.ExhaustedAt = all[i].PerSecond, nil
		if end := forecast(s.PerSecond, s.Remaining, at, s.Reset.Unix()); !end.IsZero() {
			s.ExhaustedAt = &end
		}
	}
	return own, nil
}

// countedAlone reports whether each replica counts what is used of a limit for itself.
func countedAlone(id string) bool {
	for _, k := range []tenant.Kind{tenant.BytesPerSecond, tenant.RequestsPerSecond, tenant.InFlightRequests} {
		if id == limitID(k, tenant.OwnerTenant) || id == limitID(k, tenant.OwnerKey) {
			return true
		}
	}
	return false
}

// logAccount is an account as far as one log is concerned.
type logAccount struct {
	accountKey
	log string
}

// storedUse is what the database has of the accounts of a chain.
type storedUse struct {
	bytes map[logAccount]int64
	paces map[accountKey]pace // of all logs
}

// read reads the accounts of days from the given one on. What each log has is the greater of what it has billed and leased: a lease may not be
// written yet for what is used, and its receipts not be billed.
func (s *storedUse) read(ctx context.Context, tx *store.Tx, chain []tenant.Limit, from int64) error {
	for _, l := range chain {
		if l.Owner == tenant.OwnerParent {
			continue
		}
		for _, query := range []string{
			`SELECT signal, day, log_id, bytes, pace_slot, pace_now, pace_before FROM day_use WHERE owner_id = ? AND is_key = ? AND day >= ?`,
			`SELECT signal, day, log_id, bytes, 0, 0, 0 FROM day_leases WHERE owner_id = ? AND is_key = ? AND day >= ?`,
		} {
			if err := s.add(ctx, tx, query, l, from); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *storedUse) add(ctx context.Context, tx *store.Tx, query string, l tenant.Limit, from int64) error {
	isKey := l.Owner == tenant.OwnerKey
	rows, err := tx.QueryContext(ctx, query, l.ID, number(isKey), from)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		k := logAccount{accountKey: accountKey{key: isKey, id: l.ID}}
		var n int64
		var of pace
		if err := rows.Scan(&k.signal, &k.day, &k.log, &n, &of.slot, &of.now, &of.before); err != nil {
			return err
		}
		s.bytes[k] = max(s.bytes[k], n)
		all := s.paces[k.accountKey]
		all.merge(of)
		s.paces[k.accountKey] = all
	}
	return rows.Err()
}
