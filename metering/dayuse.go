package metering

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering/alert"
)

// The ledger also keeps what each account has used on each day of its owner, beside the hours that are billed: days begin
// where their owners say, which hours of UTC do not tell. From it a meter knows the day's use after a restart, and the part
// of each receipt that lies beyond a limit follows from the sum before it, in whatever order receipts of several replicas
// come. And from it a process that admits nothing knows how fast a day is used.

// accountKey names an account on a day.
type accountKey struct {
	key    bool
	id     string
	signal Signal
	day    int64
}

func (d *Debit) account() accountKey { return accountKey{d.Key, d.ID, d.Signal, d.Day} }

func (k accountKey) compare(o accountKey) int {
	if c := strings.Compare(k.id, o.id); c != 0 {
		return c
	}
	if c := strings.Compare(string(k.signal), string(o.signal)); c != 0 {
		return c
	}
	if k.key != o.key {
		return number(k.key) - number(o.key)
	}
	return int(k.day - o.day)
}

// dayUses adds a run's receipts up per account.
type dayUses struct {
	tx    *store.Tx
	log   string
	now   time.Time
	names map[string]string // of tenants, their parents; for receipts of version 1
	grown map[accountKey]growth
	known map[accountKey]int64 // the sum of all logs before the run, where a limit asks for it
}

// growth is what a run's receipts add to an account, and how fast they came.
type growth struct {
	bytes int64
	pace  pace
}

// debit adds a receipt to the accounts it counts against, and returns how much of it is beyond a limit whose owner is billed
// for that: the greatest over all limits.
func (u *dayUses) debit(ctx context.Context, r *Receipt) (over int64, err error) {
	if r.BilledBytes == 0 {
		return 0, nil
	}
	if len(r.Debits) == 0 && u.names == nil {
		if u.names, err = queryParents(ctx, u.tx); err != nil {
			return 0, err
		}
	}
	over = r.OverageBytes // version 1 says it itself
	debits := r.debits(u.names)
	for i := range debits {
		d := &debits[i]
		k := d.account()
		grown := u.grown[k]
		if d.Limit != tenant.Unlimited {
			before, err := u.before(ctx, k)
			if err != nil {
				return 0, err
			}
			before += grown.bytes
			if d.Billed {
				over = max(over, overage(d.Limit, before, r.BilledBytes))
			}
			if err := u.tell(ctx, r, d, before); err != nil {
				return 0, err
			}
		}
		grown.bytes += r.BilledBytes
		grown.pace.merge(paceOf(r.ReceivedAt, r.BilledBytes))
		u.grown[k] = grown
	}
	return over, nil
}

// before returns what all logs had of an account before the run.
func (u *dayUses) before(ctx context.Context, k accountKey) (int64, error) {
	if n, ok := u.known[k]; ok {
		return n, nil
	}
	var n int64
	err := u.tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM day_use
		WHERE owner_id = ? AND is_key = ? AND signal = ? AND day = ?`, k.id, number(k.key), string(k.signal), k.day).Scan(&n)
	u.known[k] = n
	return n, err
}

// tell records the thresholds of the limit that the receipt passes. One that is passed again, after the limit was raised, is
// not told twice on a day.
func (u *dayUses) tell(ctx context.Context, r *Receipt, d *Debit, before int64) error {
	after := before + r.BilledBytes
	for _, threshold := range alert.Crossed(before, after, d.Limit) {
		e := alert.Event{Tenant: d.ID, Kind: alert.DailyBytes, Owner: alert.OwnerTenant, OwnerID: d.ID,
			LimitID: LimitTenant, Signal: string(d.Signal), Day: d.Day, Threshold: threshold, Used: after, Max: d.Limit, At: u.now}
		if d.Key {
			e.Tenant, e.Owner, e.LimitID = r.Tenant.String(), alert.OwnerKey, LimitKey
		}
		if err := alert.Record(ctx, u.tx, e); err != nil {
			return fmt.Errorf("record that a limit is nearly used: %w", err)
		}
	}
	return nil
}

// write adds what has grown, in an order that is the same for everybody.
func (u *dayUses) write(ctx context.Context) error {
	if len(u.grown) == 0 {
		return nil
	}
	stmt, err := u.tx.PrepareContext(ctx, `INSERT INTO day_use (owner_id, is_key, signal, day, log_id, bytes, pace_slot, pace_now, pace_before)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (owner_id, is_key, signal, day, log_id) DO UPDATE SET bytes = day_use.bytes + excluded.bytes, `+mergePace)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, k := range slices.SortedFunc(maps.Keys(u.grown), accountKey.compare) {
		g := u.grown[k]
		if _, err := stmt.ExecContext(ctx, k.id, number(k.key), string(k.signal), k.day, u.log, g.bytes, g.pace.slot, g.pace.now, g.pace.before); err != nil {
			return err
		}
	}
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// keptUseDays is for how many days the use of accounts is kept: limits look at today and yesterday, operators at last week.
const keptUseDays = 8

// dropDayUse removes days that no limit asks for any more.
func dropDayUse(ctx context.Context, tx *store.Tx, now time.Time) error {
	for _, table := range []string{"day_use", "day_leases"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE day < ?`, dayOf(now)-keptUseDays); err != nil {
			return err
		}
	}
	return nil
}
