package auth

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

const (
	// refusalInterval is how often the refused use of one key for one reason is audited at most, by each process.
	refusalInterval = time.Minute
	// maxRefusals bounds what is remembered of refused uses, and what of them waits to be written. Beyond it they are counted in
	// headgate_auth_key_checks_total alone.
	maxRefusals   = 10_000
	refusalsBatch = 100 // entries in one transaction, and looks for unknown ids per second
	houseInterval = time.Second
)

// refusals samples the refused use of keys for the audit. It costs who is let in nothing.
type refusals struct {
	mu      sync.Mutex // guards what follows
	told    map[refusal]time.Time
	waiting []refusal
	swept   time.Time // when told was last walked over for what is old: at most once in houseInterval, whatever is sent
}

// refusal is the use of a key, by its id, and the code that it was refused with.
type refusal struct{ key, code string }

// refused notes that the use of a key was refused, unless that was noted within the minute.
func (r *refusals) refused(key, code string, now time.Time) {
	if key == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	it := refusal{key, code}
	if at, ok := r.told[it]; ok && now.Sub(at) < refusalInterval {
		return
	}
	if len(r.told) >= maxRefusals && now.Sub(r.swept).Abs() >= houseInterval {
		r.swept = now
		for old, at := range r.told {
			if now.Sub(at) >= refusalInterval {
				delete(r.told, old)
			}
		}
	}
	if len(r.told) >= maxRefusals || len(r.waiting) >= maxRefusals {
		return
	}
	if r.told == nil {
		r.told = map[refusal]time.Time{}
	}
	r.told[it] = now
	r.waiting = append(r.waiting, it)
}

func (r *refusals) take() []refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), refusalsBatch)
	out := r.waiting[:n:n]
	if r.waiting = r.waiting[n:]; len(r.waiting) == 0 {
		r.waiting = nil
	}
	return out
}

// NoteRefusal notes that a key that was let in was refused for what it may not do, such as ErrScope. err of another kind, and
// principals that are no key, are left out.
func (d *Directory) NoteRefusal(p Principal, err error) {
	var e *Error
	if errors.As(err, &e) && p.KeyID() != "" {
		d.refusals.refused(p.KeyID(), e.Code, d.now())
	}
}

// keepHouse writes the samples of refused uses, and forgets old answers of idempotent requests, until ctx ends.
func (d *Directory) keepHouse(ctx context.Context) {
	tick := time.NewTicker(houseInterval)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.auditRefusals(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("refused uses of keys are not audited", "err", err)
		}
		if now := d.now(); now.Sub(swept) >= useInterval {
			if err := d.sweepIdempotency(ctx); err != nil && ctx.Err() == nil {
				d.log.Warn("old answers of idempotent requests are not removed", "err", err)
			}
			swept = now
		}
	}
}

// auditRefusals writes an entry for each sample of a key that there is, or was: ids that were made up belong to nobody's audit.
// Samples of a failed transaction are lost; what is refused is refused all the same.
func (d *Directory) auditRefusals(ctx context.Context) error {
	batch := d.refusals.take()
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	owners := map[string]tenant.ID{}
	err := d.db.View(ctx, func(tx *store.Tx) error {
		for _, it := range batch {
			id, err := unsafeOwnerOfKey(ctx, tx, it.key)
			if err != nil {
				return err
			}
			owners[it.key] = id
		}
		return nil
	})
	if err != nil {
		return err
	}
	at := d.now().UTC().Truncate(time.Millisecond)
	var entries []Entry
	for _, it := range batch {
		if id := owners[it.key]; !id.IsZero() {
			entries = append(entries, Entry{At: at, Actor: "key:" + it.key, Tenant: id, Action: "key.use", Target: it.key, Outcome: OutcomeRefused,
				Detail: changeDetail("code", nil, it.code)})
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return d.db.Update(ctx, func(tx *store.Tx) error {
		for _, e := range entries {
			if err := writeEntry(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// unsafeOwnerOfKey returns whose key has that id, zero if there is and was none.
//
// SECURITY: it is for all tenants; what it finds goes into the audit of the tenant that it finds.
func unsafeOwnerOfKey(ctx context.Context, tx *store.Tx, id string) (owner tenant.ID, err error) {
	var text string
	err = tx.QueryRowContext(ctx, `SELECT tenant_id FROM api_keys WHERE id = ?`, id).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return tenant.ID{}, nil
	}
	if err != nil {
		return tenant.ID{}, err
	}
	return tenant.ParseID(text)
}
