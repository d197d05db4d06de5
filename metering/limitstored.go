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
// so that it is right to the byte where nobody sends, and otherwise ahead by leases that are not used up. How fast a day is used, what is
// spent of rates and what is in flight is left out: each replica knows its own alone. kept returns what a tenant and its descendants
// keep, and whether that is known.
//
// SECURITY: as there, limits of ancestors are left out.
func StoredLimits(ctx context.Context, db *store.DB, c Charge, kept func(tenant.ID) (int64, bool), at time.Time) ([]LimitState, error) {
	m := newMeter(dayOf(at)-1, nil)
	var used map[logAccount]int64
	err := db.View(ctx, func(tx *store.Tx) error {
		used = map[logAccount]int64{}
		for _, l := range c.Limits {
			if l.Owner == tenant.OwnerParent {
				continue
			}
			for _, table := range []string{"day_use", "day_leases"} {
				if err := readUse(ctx, tx, table, l, m.floor, used); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the use of limits: %w", err)
	}
	days := map[accountKey]int64{}
	for k, n := range used {
		days[k.accountKey] += n
	}
	for _, k := range slices.SortedFunc(maps.Keys(days), accountKey.compare) {
		if err := m.restoreLocked(Debit{Key: k.key, ID: k.id, Signal: k.signal, Day: k.day}, days[k]); err != nil {
			return nil, err
		}
	}
	if n, known := kept(c.Tenant); known {
		m.SetStorage(map[string]int64{c.Tenant.String(): n})
	}
	return m.Limits(c, at)
}

// logAccount is an account as far as one log is concerned.
type logAccount struct {
	accountKey
	log string
}

// readUse notes what each log has of an owner's accounts according to a table, unless more is noted already: a lease may not be written
// yet for what is used, and its receipts not be billed.
func readUse(ctx context.Context, tx *store.Tx, table string, l tenant.Limit, from int64, into map[logAccount]int64) error {
	isKey := l.Owner == tenant.OwnerKey
	rows, err := tx.QueryContext(ctx, `SELECT signal, day, log_id, bytes FROM `+table+` WHERE owner_id = ? AND is_key = ? AND day >= ?`,
		l.ID, number(isKey), from)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		k := logAccount{accountKey: accountKey{key: isKey, id: l.ID}}
		var n int64
		if err := rows.Scan(&k.signal, &k.day, &k.log, &n); err != nil {
			return err
		}
		into[k] = max(into[k], n)
	}
	return rows.Err()
}
