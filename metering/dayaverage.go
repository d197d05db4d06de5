package metering

import (
	"context"
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
// statement, however many tenants there are.
func (l *Ledger) BilledByTenant(ctx context.Context, tenants []tenant.ID, from, to time.Time) (map[string]int64, error) {
	out := map[string]int64{}
	if len(tenants) == 0 {
		return out, nil
	}
	err := l.db.View(ctx, func(tx *store.Tx) error {
		for part := range slices.Chunk(tenants, maxOwners) {
			q, args := billedRows(part, from, to)
			rows, err := tx.QueryContext(ctx, `SELECT tenant_id, CAST(SUM(billed_bytes) AS BIGINT) FROM (`+q+`) u GROUP BY tenant_id`, args...)
			if err != nil {
				return err
			}
			for rows.Next() {
				var id string
				var n int64
				if err := rows.Scan(&id, &n); err != nil {
					rows.Close()
					return err
				}
				out[id] = n
			}
			if err := rows.Err(); err != nil {
				return err
			}
			rows.Close()
		}
		return nil
	})
	return out, err
}

// BilledByDay returns the billed bytes of all of the tenants together on each day of a period, days without any too.
func (l *Ledger) BilledByDay(ctx context.Context, tenants []tenant.ID, from, to time.Time) ([]DayBytes, error) {
	sums := map[int64]int64{}
	err := l.db.View(ctx, func(tx *store.Tx) error {
		for part := range slices.Chunk(tenants, maxOwners) {
			q, args := billedRows(part, from, to)
			rows, err := tx.QueryContext(ctx, `SELECT hour / 86400, CAST(SUM(billed_bytes) AS BIGINT) FROM (`+q+`) u GROUP BY hour / 86400`, args...)
			if err != nil {
				return err
			}
			for rows.Next() {
				var day, n int64
				if err := rows.Scan(&day, &n); err != nil {
					rows.Close()
					return err
				}
				sums[day] += n
			}
			if err := rows.Err(); err != nil {
				return err
			}
			rows.Close()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := []DayBytes{}
	for day := from.Unix() / daySeconds; day*daySeconds < to.Unix(); day++ {
		out = append(out, DayBytes{time.Unix(day*daySeconds, 0).UTC().Format(time.DateOnly), sums[day]})
	}
	return out, nil
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
