package metering

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// SealedDays are the days, of UTC, that sums of sealed usage are made of: from the first moment of one to that of another.
type SealedDays struct{ From, To time.Time }

// DaysBefore returns the last n days whose hours are all sealed.
func (l *Ledger) DaysBefore(ctx context.Context, n int) (d SealedDays, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		through, err := sealedThrough(ctx, tx, l.now())
		if err != nil {
			return err
		}
		d.To = time.Unix(through-through%daySeconds, 0).UTC()
		d.From = d.To.AddDate(0, 0, -n)
		return nil
	})
	return d, err
}

// DayBytes is what was billed on a day of UTC.
type DayBytes struct {
	Day   string `json:"day"` // YYYY-MM-DD
	Bytes int64  `json:"billed_bytes"`
}

// BilledByTenant returns the billed bytes of each of the tenants in a period of full hours, corrections with it. It is one
// statement for ten thousand tenants.
func (l *Ledger) BilledByTenant(ctx context.Context, tenants []tenant.ID, from, to time.Time) (map[string]int64, error) {
	return sumBilled[string](ctx, l, "tenant_id", tenants, from, to)
}

// BilledByDay returns the billed bytes of all of the tenants together on each day of a period, days without any too.
func (l *Ledger) BilledByDay(ctx context.Context, tenants []tenant.ID, from, to time.Time) ([]DayBytes, error) {
	sums, err := sumBilled[int64](ctx, l, "hour / 86400", tenants, from, to)
	if err != nil {
		return nil, err
	}
	out := []DayBytes{}
	for day := from.Unix() / daySeconds; day*daySeconds < to.Unix(); day++ {
		out = append(out, DayBytes{time.Unix(day*daySeconds, 0).UTC().Format(time.DateOnly), sums[day]})
	}
	return out, nil
}

// sumBilled adds the billed bytes of the tenants in a period up by an expression of the rows.
func sumBilled[K string | int64](ctx context.Context, l *Ledger, by string, tenants []tenant.ID, from, to time.Time) (map[K]int64, error) {
	out := map[K]int64{}
	err := l.db.View(ctx, func(tx *store.Tx) error {
		for part := range slices.Chunk(tenants, maxOwners) {
			if err := addBilled(ctx, tx, by, part, from, to, out); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("add up billed bytes: %w", err)
	}
	return out, nil
}

func addBilled[K string | int64](ctx context.Context, tx *store.Tx, by string, tenants []tenant.ID, from, to time.Time, out map[K]int64) error {
	q, args := billedRows(tenants, from, to)
	rows, err := tx.QueryContext(ctx, `SELECT `+by+`, CAST(SUM(billed_bytes) AS BIGINT) FROM (`+q+`) u GROUP BY `+by, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k K
		var n int64
		if err := rows.Scan(&k, &n); err != nil {
			return err
		}
		out[k] += n
	}
	return rows.Err()
}

// maxOwners bounds the arguments of one statement: each tenant is named in it twice.
const maxOwners = 10_000

// billedRows selects the rows of a period, of the ledger and of its corrections.
func billedRows(tenants []tenant.ID, from, to time.Time) (query string, args []any) {
	o := ownersOf(tenants, false)
	args = append([]any{from.Unix(), to.Unix()}, o.args...)
	return `SELECT tenant_id, hour, billed_bytes FROM usage_hours WHERE hour >= ? AND hour < ?` + o.and + `
		UNION ALL SELECT tenant_id, hour, billed_bytes FROM usage_corrections WHERE hour >= ? AND hour < ?` + o.and, append(args, args...)
}
