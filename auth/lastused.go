package auth

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// useInterval is both how coarse last-used times are and how often Run writes them.
const useInterval = time.Minute

// uses is the last use of a secret.
type uses struct {
	last    atomic.Int64 // unix milliseconds, coarse; 0 is none in this process
	written atomic.Int64 // of it, what is in the database
}

func (u *uses) note(ms int64) {
	if u.last.Load() < ms {
		u.last.Store(ms)
	}
}

func (u *uses) from(o *uses) {
	u.last.Store(o.last.Load())
	u.written.Store(o.written.Load())
}

// use notes that the key opened something now, by its older secret or not. It costs a store only once per interval.
func (e *keyEntry) use(now time.Time, old bool) {
	ms := now.Truncate(useInterval).UnixMilli()
	e.used.note(ms)
	if old {
		e.usedOld.note(ms)
	}
}

// flushUses writes the last-used times that are newer than the written ones, in one transaction. A failure loses nothing:
// the next flush writes them.
//
// SECURITY: it crosses tenants and writes what the process itself has seen.
func (d *Directory) flushUses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	type use struct {
		e  *keyEntry
		u  *uses
		ms int64
	}
	var all []use
	add := func(e *keyEntry, u *uses) {
		if ms := u.last.Load(); ms > u.written.Load() {
			all = append(all, use{e, u, ms})
		}
	}
	d.mu.RLock()
	for _, e := range d.keys {
		add(e, &e.used)
		if e.old != nil {
			add(e, &e.usedOld)
		}
	}
	d.mu.RUnlock()
	if len(all) == 0 {
		return nil
	}
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		for _, u := range all {
			statement, args := `UPDATE api_keys SET last_used_at = ?
				WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)`, []any{u.ms, u.e.key.ID, u.ms}
			if u.u == &u.e.usedOld { // unless the key was rotated again meanwhile
				statement, args = `UPDATE api_keys SET old_used_at = ?
					WHERE id = ? AND (old_used_at IS NULL OR old_used_at < ?) AND old_mac = ?`, append(args, u.e.old[:])
			}
			if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write last-used times: %w", err)
	}
	for _, u := range all {
		u.u.written.Store(u.ms)
	}
	return nil
}
