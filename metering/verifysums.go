package metering

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// sums compares, for every hour of receipt and signal, the ledger's sums over all tenants with what the runs have added. Both
// are written in one transaction and read in one.
func (c *comparison) sums(ctx context.Context) error {
	for from := c.from; from < c.to; from += daySeconds {
		to := min(from+daySeconds, c.to)
		var ledger, runs map[runPart]sums
		err := c.ledger.db.View(ctx, func(tx *store.Tx) (err error) {
			ledger, err = readSums(ctx, tx, `SELECT hour, signal, CAST(SUM(requests) AS BIGINT), CAST(SUM(records) AS BIGINT),
				CAST(SUM(billed_bytes) AS BIGINT), CAST(SUM(overage_bytes) AS BIGINT), CAST(SUM(unbilled_bytes) AS BIGINT)
				FROM (SELECT hour, signal, requests, records, billed_bytes, overage_bytes, unbilled_bytes
					FROM usage_hours WHERE hour >= ? AND hour < ?
					UNION ALL SELECT corrects, signal, requests, records, billed_bytes, overage_bytes, unbilled_bytes
					FROM usage_corrections WHERE corrects >= ? AND corrects < ? AND source = 'late') AS received
				GROUP BY hour, signal`, from, to, from, to)
			if err != nil {
				return err
			}
			runs, err = readSums(ctx, tx, `SELECT hour, signal, CAST(SUM(receipts) AS BIGINT), CAST(SUM(records) AS BIGINT),
				CAST(SUM(billed_bytes) AS BIGINT), CAST(SUM(overage_bytes) AS BIGINT), CAST(SUM(unbilled_bytes) AS BIGINT)
				FROM usage_runs WHERE hour >= ? AND hour < ? GROUP BY hour, signal`, from, to)
			return err
		})
		if err != nil {
			return fmt.Errorf("compare the ledger with its runs: %w", err)
		}
		c.compareSums(ledger, runs)
		c.tick(DriftLedger, "", from)
	}
	return nil
}

func readSums(ctx context.Context, tx *store.Tx, query string, args ...any) (map[runPart]sums, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return scanSums(rows)
}

func scanSums(rows *sql.Rows) (map[runPart]sums, error) {
	out := map[runPart]sums{}
	for rows.Next() {
		var k runPart
		var s sums
		if err := rows.Scan(&k.hour, &k.signal, &s.requests, &s.records, &s.billed, &s.overage, &s.unbilled); err != nil {
			return nil, err
		}
		have := out[k]
		have.add(s)
		out[k] = have
	}
	return out, rows.Err()
}

func (c *comparison) compareSums(ledger, runs map[runPart]sums) {
	var parts []runPart
	for k := range ledger {
		parts = append(parts, k)
	}
	for k := range runs {
		if _, ok := ledger[k]; !ok {
			parts = append(parts, k)
		}
	}
	slices.SortFunc(parts, func(a, b runPart) int { return cmp.Or(cmp.Compare(a.hour, b.hour), cmp.Compare(a.signal, b.signal)) })
	for _, k := range parts {
		c.report.Hours++
		have, want := ledger[k], runs[k]
		for _, f := range []struct {
			field      string
			want, have int64
		}{
			{"billed_bytes", want.billed, have.billed}, {"overage_bytes", want.overage, have.overage},
			{"unbilled_bytes", want.unbilled, have.unbilled}, {"records", want.records, have.records},
			{"requests", want.requests, have.requests},
		} {
			if f.want != f.have {
				c.report.drift(Drift{Kind: DriftLedger, Hour: time.Unix(k.hour, 0).UTC(), Signal: k.signal, Field: f.field, Want: f.want, Have: f.have})
			}
		}
	}
}
