package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Deleting reports whether a tenant is being deleted, or is deleted, as far as this process knows: within a second of its begin.
// It reads memory only.
func (d *Directory) Deleting(id string) bool {
	parsed, err := tenant.ParseID(id)
	if err != nil {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := d.tenants[parsed]
	return t != nil && t.Status == Deleting
}

// UnsafeDeletions returns the deletions that have not ended, the oldest first, and those that ended after since.
//
// SECURITY: it crosses tenants; for the job that carries deletions out.
func (d *Directory) UnsafeDeletions(ctx context.Context, since time.Time) (out []Deletion, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error {
		out, err = queryDeletions(ctx, tx, `d.ended_at IS NULL OR d.ended_at > ? ORDER BY d.asked_at, d.tenant_id`, since.UnixMilli())
		return err
	})
	return out, err
}

// UnsafeAdoptDeletions begins the deletion of tenants that an older version has left half deleted.
//
// SECURITY: it crosses tenants, and changes only what is marked for deletion.
func (d *Directory) UnsafeAdoptDeletions(ctx context.Context) error {
	at := d.now().UnixMilli()
	return d.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO deletions (tenant_id, step, asked_by, asked_at, changed_at, report)
			SELECT id, ?, ?, changed_at, ?, '{}' FROM tenants WHERE status = 'deleting' AND deleted_at IS NULL
			ON CONFLICT (tenant_id) DO NOTHING`, DeletionLogs, System, at)
		return err
	})
}

// errSame says that there is nothing to write.
var errSame = errors.New("nothing changed")

// Progress lets fn change the step and the report of a deletion that has not ended, in one transaction, and returns it as it is
// then. What fn refuses with an error is not written.
func (d *Directory) Progress(ctx context.Context, id tenant.ID, fn func(x *Deletion) error) (out Deletion, err error) {
	err = d.db.Update(ctx, func(tx *store.Tx) error {
		found, err := queryDeletions(ctx, tx, `d.tenant_id = ? AND d.ended_at IS NULL`, id.String())
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return detail(ErrState, "tenant %s: no deletion is under way", id)
		}
		out = found[0]
		if err := fn(&out); err != nil {
			return err
		}
		out.ChangedAt = d.now().UTC()
		return out.save(ctx, tx)
	})
	return out, err
}

func (x *Deletion) save(ctx context.Context, tx *store.Tx) error {
	report, err := json.Marshal(x.Report)
	if err != nil {
		return err
	}
	var ended any
	if x.EndedAt != nil {
		ended = x.EndedAt.UnixMilli()
	}
	_, err = tx.ExecContext(ctx, `UPDATE deletions SET step = ?, changed_at = ?, ended_at = ?, report = ? WHERE tenant_id = ?`,
		x.Step, x.ChangedAt.UnixMilli(), ended, plainText(string(report)), x.Tenant.String())
	return err
}

// LeaseDeletion gives the deletion to worker until then, unless another has it: of all processes one goes on with it. A process
// that comes back after a kill has the name it had, and goes on at once.
func (d *Directory) LeaseDeletion(ctx context.Context, id tenant.ID, worker string, until time.Time) (x Deletion, ok bool, err error) {
	now := d.now().UnixMilli()
	x, err = d.Progress(ctx, id, func(x *Deletion) error {
		if x.Report.Worker != worker && x.Report.LeasedUntil > now {
			return errSame
		}
		x.Report.Worker, x.Report.LeasedUntil = worker, until.UnixMilli()
		return nil
	})
	if errors.Is(err, errSame) {
		return x, false, nil
	}
	return x, err == nil, err
}

// logSeen is how long ago a process was last seen for its log to be waited for. It says that it is there every ten seconds.
const logSeen = time.Minute

// LogsOf returns the names of logs that are to be waited for, of processes that were seen lately, and of those that are away.
func (d *Directory) LogsOf(ctx context.Context) (present, away []string, err error) {
	seen := d.now().Add(-logSeen).UnixMilli()
	err = d.db.View(ctx, func(tx *store.Tx) error {
		present, away = nil, nil
		rows, err := tx.QueryContext(ctx, `SELECT log_id, seen_at FROM replicas ORDER BY log_id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var at int64
			if err := rows.Scan(&name, &at); err != nil {
				return err
			}
			if at > seen {
				present = append(present, name)
			} else {
				away = append(away, name)
			}
		}
		return rows.Err()
	})
	return present, away, err
}

// EraseState removes what the state database has of a tenant that is being deleted, table by table, and adds how many rows each had
// to the deletion's report, in the same transaction: it is in the certificate whatever is killed. It may be called again.
func (d *Directory) EraseState(ctx context.Context, id tenant.ID) error {
	if !d.Deleting(id.String()) {
		return detail(ErrState, "tenant %s: its deletion has not begun", id)
	}
	var all []erasure
	err := d.db.View(ctx, func(tx *store.Tx) (err error) { all, err = erasures(ctx, tx); return err })
	if err != nil {
		return err
	}
	for _, e := range all {
		// A transaction each: none is long, and what is done stays done.
		err := d.db.Update(ctx, func(tx *store.Tx) error {
			n, err := e.run(ctx, tx, id)
			if err != nil || n == 0 {
				return err
			}
			found, err := queryDeletions(ctx, tx, `d.tenant_id = ? AND d.ended_at IS NULL`, id.String())
			if err != nil || len(found) == 0 {
				return err
			}
			found[0].AddRemoved(Removed{InState, e.table, n})
			return found[0].save(ctx, tx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckState counts what the state database has left of a tenant.
func (d *Directory) CheckState(ctx context.Context, id tenant.ID) (checks []RowCheck, err error) {
	err = d.db.View(ctx, func(tx *store.Tx) error { checks, err = checkState(ctx, tx, id); return err })
	return checks, err
}

// EndDeletion ends a deletion all of whose steps are done: rows that came meanwhile go, nothing is left, the name becomes free, the
// tenant is found no more, and the certificate is in its audit; in one transaction.
func (d *Directory) EndDeletion(ctx context.Context, id tenant.ID) error {
	at := d.now().UTC().Truncate(time.Millisecond)
	err := d.db.Update(ctx, func(tx *store.Tx) error {
		var rev int64
		if err := tx.QueryRowContext(ctx, `UPDATE changes SET n = n + 1 RETURNING n`).Scan(&rev); err != nil {
			return err
		}
		rows, err := queryTenants(ctx, tx, `WHERE id = ?`, id.String())
		if err != nil {
			return err
		}
		if len(rows) == 0 || rows[0].Status != Deleting {
			return detail(ErrState, "tenant %s: its deletion has not begun", id)
		}
		e, err := endDeletion(ctx, tx, rev, at, rows[0].Tenant)
		if err != nil {
			return err
		}
		e.At, e.Actor, e.Action, e.Outcome = at, System, "tenant.deleted", OutcomeOK
		return writeEntry(ctx, tx, e)
	})
	if err != nil {
		return fmt.Errorf("end the deletion of tenant %s: %w", id, err)
	}
	if err := d.sync(context.WithoutCancel(ctx)); err != nil {
		d.log.Warn("a change is saved but not yet in force", "action", "tenant.deleted", "err", err)
	}
	return nil
}

// endDeletion is what both ends have in common.
func endDeletion(ctx context.Context, tx *store.Tx, rev int64, at time.Time, t Tenant) (Entry, error) {
	found, err := queryDeletions(ctx, tx, `d.tenant_id = ?`, t.ID.String())
	if err != nil {
		return Entry{}, err
	}
	if len(found) == 0 { // begun by an older version
		found = []Deletion{{Tenant: t.ID, Name: t.Name, AskedBy: System, AskedAt: at}}
	}
	x := found[0]
	all, err := erasures(ctx, tx)
	if err != nil {
		return Entry{}, err
	}
	for _, e := range all {
		n, err := e.run(ctx, tx, t.ID)
		if err != nil {
			return Entry{}, err
		}
		x.AddRemoved(Removed{InState, e.table, n})
	}
	checks, err := checkState(ctx, tx, t.ID)
	if err != nil {
		return Entry{}, err
	}
	x.Report.Checks = append(slices.DeleteFunc(x.Report.Checks, func(c RowCheck) bool { return c.Store == InState }), checks...)
	for _, c := range x.Report.Checks {
		if c.Rows > 0 {
			return Entry{}, detail(ErrState, "tenant %s: %d rows are left: %s", t.Name, c.Rows, c.Query)
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE tenants SET deleted_at = ?, changed_at = ?, owner_email = '', rev = ? WHERE id = ?`,
		at.UnixMilli(), at.UnixMilli(), rev, t.ID.String())
	if err != nil {
		return Entry{}, err
	}
	c := x.certify(at)
	x.Step, x.ChangedAt, x.EndedAt = DeletionDone, at, &at
	x.Report = DeletionReport{Logs: x.Report.Logs, Certificate: &c}
	if err := x.save(ctx, tx); err != nil {
		return Entry{}, err
	}
	said, err := json.Marshal(map[string]any{"before": planOf(t), "certificate": c})
	return Entry{Tenant: t.ID, Target: t.ID.String(), Detail: said}, err
}

// ReopenDeletion lets a deletion that had ended go on, because rows have come to light, such as those of a process that was cut
// off from the state database meanwhile.
func (d *Directory) ReopenDeletion(ctx context.Context, id tenant.ID, why string) error {
	at := d.now().UTC().Truncate(time.Millisecond)
	return d.db.Update(ctx, func(tx *store.Tx) error {
		found, err := queryDeletions(ctx, tx, `d.tenant_id = ? AND d.ended_at IS NOT NULL`, id.String())
		if err != nil || len(found) == 0 {
			return err
		}
		x := found[0]
		x.Step, x.EndedAt, x.ChangedAt = DeletionLogs, nil, at
		if c := x.Report.Certificate; c != nil {
			x.Report.Removed, x.Report.Certificate = c.Removed, nil
		}
		x.Report.Logs = nil
		if err := x.save(ctx, tx); err != nil {
			return err
		}
		said, err := json.Marshal(map[string]any{"why": why})
		if err != nil {
			return err
		}
		return Note(ctx, tx, at, id.String(), "tenant.delete.again", id.String(), said)
	})
}

// AddRemoved adds rows to those that were removed from a table.
func (x *Deletion) AddRemoved(r Removed) {
	if r.Rows == 0 {
		return
	}
	for i, have := range x.Report.Removed {
		if have.Store == r.Store && have.Table == r.Table {
			x.Report.Removed[i].Rows += r.Rows
			return
		}
	}
	x.Report.Removed = append(x.Report.Removed, r)
}

// Certificate says what a deletion removed, and which queries found nothing afterwards.
type Certificate struct {
	Version int                `json:"version"` // 1
	Tenant  string             `json:"tenant_id"`
	Name    string             `json:"name"`
	AskedBy string             `json:"asked_by"`
	AskedAt time.Time          `json:"asked_at"`
	EndedAt time.Time          `json:"ended_at"`
	Logs    map[string]LogGone `json:"logs"`
	Away    []string           `json:"away"` // logs of processes that were away
	Removed []Removed          `json:"removed"`
	Checks  []RowCheck         `json:"checks"`
	Kept    []string           `json:"kept"`   // tables whose rows of the tenant stay: what was invoiced, and the audit
	SHA256  string             `json:"sha256"` // of the certificate as compact JSON, with "" here
}

func (x *Deletion) certify(at time.Time) Certificate {
	c := Certificate{Version: 1, Tenant: x.Tenant.String(), Name: x.Name, AskedBy: x.AskedBy, AskedAt: x.AskedAt, EndedAt: at,
		Logs: map[string]LogGone{}, Away: append([]string{}, x.Report.Away...), Removed: append([]Removed{}, x.Report.Removed...),
		Checks: x.Report.Checks, Kept: keptTables}
	maps.Copy(c.Logs, x.Report.Logs)
	c.SHA256 = c.Sum()
	return c
}

// Sum returns what SHA256 is if nobody has changed the certificate since.
func (c Certificate) Sum() string {
	c.SHA256 = ""
	raw, err := json.Marshal(c)
	if err != nil {
		panic("BUG: certificate: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
