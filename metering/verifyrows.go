package metering

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// sides says in which directions the tenants of an hour differ.
type sides struct{ fewer, more bool }

// maxTurns bounds how often a signal is compared again because requests left what was set aside meanwhile.
const maxTurns = 5

// rows compares the records of every tenant and hour, and returns the hours that differ.
//
// The order makes it exact while requests that were set aside are tried again: first what is aside, then what the log has to
// do, then ClickHouse. A request that is tried again is aside at the first, or in the log at the second and its hour is left
// out, or in ClickHouse. What moves between the first and the last changes what is aside, and the signal is compared again.
func (c *comparison) rows(ctx context.Context, s Signal) (map[int64]sides, error) {
	for turn := 1; ; turn++ {
		before, err := c.aside(ctx, s)
		if err != nil {
			return nil, err
		}
		if c.waiting, err = c.ledger.waiting(ctx); err != nil {
			return nil, err
		}
		p := &rowPass{hourPass[string]{comparison: c, signal: s, kind: DriftRows, hour: c.from}, before, map[int64]sides{}}
		mark := c.mark()
		clear(c.tenants)
		if err := p.run(ctx); err != nil {
			return nil, err
		}
		after, err := c.aside(ctx, s)
		if err != nil {
			return nil, err
		}
		if maps.Equal(before, after) {
			return p.hours, nil
		}
		if turn == maxTurns {
			return nil, errors.New("requests that were set aside are being tried again; verify when that is done")
		}
		c.reset(mark)
	}
}

// mark and reset take back what a pass has reported.
func (c *comparison) mark() Report {
	r := c.report
	r.DriftRows, r.Skipped = maps.Clone(r.DriftRows), slices.Clone(r.Skipped)
	return r
}

func (c *comparison) reset(r Report) {
	c.report = r
	maps.DeleteFunc(c.skipped, func(_ skipKey, i int) bool { return i >= len(r.Skipped) })
}

// rowPass compares the records of each tenant.
type rowPass struct {
	hourPass[string]
	aside map[cell]aside
	hours map[int64]sides
}

func (p *rowPass) run(ctx context.Context) error {
	p.load, p.compare = p.received, p.decide
	return p.over(ctx, func(see func(hour int64, tenantID string, have int64) error) error {
		return p.stored.UnsafeByTenant(ctx, string(p.signal), p.from, p.to, p.only, see)
	})
}

// received reads what the ledger has of the hour.
func (p *rowPass) received(ctx context.Context) (map[string]int64, error) {
	out := map[string]int64{}
	return out, p.ledger.db.View(ctx, func(tx *store.Tx) error {
		clear(out)
		return receivedRecords(ctx, tx, p.signal, p.hour, p.only, out)
	})
}

// receivedRecords adds the records that each tenant has in the ledger for an hour of receipt: those that came after its seal
// are corrections, while those of an operator change what is billed and not what was received.
func receivedRecords(ctx context.Context, tx *store.Tx, s Signal, hour int64, only tenant.ID, out map[string]int64) error {
	one, args := ``, []any{hour, string(s)}
	if !only.IsZero() {
		one, args = ` AND tenant_id = ?`, append(args, only.String())
	}
	rows, err := tx.QueryContext(ctx, `SELECT tenant_id, CAST(SUM(records) AS BIGINT) FROM (
			SELECT tenant_id, records FROM usage_hours WHERE hour = ? AND signal = ?`+one+`
			UNION ALL SELECT tenant_id, records FROM usage_corrections WHERE corrects = ? AND signal = ?`+one+` AND source = 'late'
		) AS received GROUP BY tenant_id`, append(args, args...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			return err
		}
		if n != 0 {
			out[id] += n
		}
	}
	return rows.Err()
}

// decide says whether one cell of the hour drifts.
func (p *rowPass) decide(ctx context.Context, id string, want, have int64) error {
	p.report.Cells++
	p.report.Records += want
	skip := func(reason, name string) {
		p.skip(Skipped{Reason: reason, Tenant: name, TenantID: id, Signal: p.signal, Count: 1, Records: max(want-have, have-want)})
	}
	a := p.aside[cell{p.hour, id}]
	switch least := want - a.records - a.others; {
	case a == aside{} && want == have:
		return nil
	case a.unknown, least <= have && have <= least+a.others:
		skip(SkipAside, "")
		return nil
	}
	want -= a.records
	if p.hour >= p.waiting {
		skip(SkipWaiting, "")
		return nil
	}
	t, err := p.tenantState(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case t.deleted && have > 0:
		return p.differs(ctx, id, t.name, 0, have, "rows of a deleted tenant")
	case t.deleted, t.deleting && have < want:
		skip(SkipDeleted, t.name)
		return nil
	case have < want && t.expired(p.hour, p.ledger.now()):
		skip(SkipExpired, t.name)
		return nil
	}
	return p.differs(ctx, id, t.name, want, have, "")
}

// differs reports a cell that drifts.
func (p *rowPass) differs(ctx context.Context, id, name string, want, have int64, note string) error {
	h := p.hours[p.hour]
	h.fewer, h.more = h.fewer || have < want, h.more || have > want
	p.hours[p.hour] = h
	d := Drift{Kind: DriftRows, Hour: time.Unix(p.hour, 0).UTC(), Signal: p.signal, Tenant: name, TenantID: id, Field: "records",
		Want: want, Have: have, Note: note}
	if p.report.DriftRows[DriftRows] < maxTold {
		var err error
		if d.Tables, err = p.stored.UnsafeTables(ctx, string(p.signal), p.hour, id); err != nil {
			return err
		}
	}
	p.report.drift(d)
	return nil
}

// maxTold bounds the drifting cells whose tables are counted one by one.
const maxTold = 100
