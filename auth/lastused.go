package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// useInterval is both how coarse last-used times are and how often Run writes them.
const useInterval = time.Minute

// use notes that the key opened something now. It costs a store only once per interval.
func (e *keyEntry) use(now time.Time) {
	ms := now.Truncate(useInterval).UnixMilli()
	if e.used.Load() < ms {
		e.used.Store(ms)
	}
}

// flushUses writes the last-used times that are newer than the written ones, in one transaction. A failure loses nothing:
// the next flush writes them.
func (d *Directory) flushUses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	type use struct {
		e  *keyEntry
		ms int64
	}
	var uses []use
	d.mu.RLock()
	for _, e := range d.keys {
		if ms := e.used.Load(); ms > e.written.Load() {
			uses = append(uses, use{e, ms})
		}
	}
	d.mu.RUnlock()
	if len(uses) == 0 {
		return nil
	}
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		for _, u := range uses {
			_, err := tx.ExecContext(ctx, `UPDATE api_keys SET last_used_at = ?
				WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)`, u.ms, u.e.key.ID, u.ms)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write last-used times: %w", err)
	}
	for _, u := range uses {
		u.e.written.Store(u.ms)
	}
	return nil
}
