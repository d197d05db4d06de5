package auth

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// The steps of a deletion, each of which may be done again. From the first on, nothing of the tenant's is taken in.
const (
	DeletionLogs   = "logs"   // wait until every process's log sends no row of the tenant any more
	DeletionRows   = "rows"   // remove the rows from ClickHouse
	DeletionState  = "state"  // remove keys, people and what else the state database has
	DeletionVerify = "verify" // count in every table
	DeletionDone   = "done"
)

// Deletion is how far the deletion of a tenant is.
type Deletion struct {
	Tenant    tenant.ID
	Name      string
	Step      string
	AskedBy   string // as Entry.Actor
	AskedAt   time.Time
	ChangedAt time.Time
	EndedAt   *time.Time
	Report    DeletionReport
}

// DeletionReport is what a deletion has done so far. It is stored as JSON.
type DeletionReport struct {
	Doing       string             `json:"doing,omitempty"`   // what is under way, for people
	Problem     string             `json:"problem,omitempty"` // of the last try; the next one follows by itself
	Worker      string             `json:"worker,omitempty"`
	LeasedUntil int64              `json:"leased_until,omitempty"` // unix milliseconds; nobody but the worker goes on before
	Logs        map[string]LogGone `json:"logs,omitempty"`         // that send nothing of the tenant any more, by name
	Away        []string           `json:"away,omitempty"`         // logs of processes that were away: they drop what they have when they come back
	Removed     []Removed          `json:"removed,omitempty"`
	Checks      []RowCheck         `json:"checks,omitempty"`
	Certificate *Certificate       `json:"certificate,omitempty"`
}

// LogGone is what a process's log had of the tenant when it was through with it.
type LogGone struct {
	At       time.Time `json:"at"`
	Requests int       `json:"dropped_requests"`
	Rows     int       `json:"dropped_rows"`
	Aside    int       `json:"removed_set_aside"`
}

// Where rows were.
const (
	InClickHouse = "clickhouse"
	InState      = "state"
)

// Removed is how many rows a deletion found in a table, and removed.
type Removed struct {
	Store string `json:"store"` // InClickHouse or InState
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// RowCheck is a query that counts a tenant's rows, and what it said.
type RowCheck struct {
	Store string `json:"store"`
	Query string `json:"query"`
	Rows  int64  `json:"rows"`
}

// BeginDelete marks the tenant as being deleted: from then on it cannot be enabled or changed, what its agents send is refused,
// and its data is removed by whichever process comes to it. It needs an inactive tenant without active children, and confirm
// equal to the tenant's name in any case. Calling it again is fine. Errors: ErrForbidden, ErrNotFound, ErrInvalid for the
// confirmation, ErrState.
func (s *Tenants) BeginDelete(ctx context.Context, by Principal, ref, confirm string) (Tenant, error) {
	return s.modify(ctx, by, "tenant.delete", ref, func(tx *store.Tx, t *Tenant) error {
		if name, err := normalName(confirm); err != nil || name != t.Name {
			return detail(ErrInvalid, "tenant %s: the confirmation is not its name", t.Name)
		}
		if t.Status == Active {
			return detail(ErrState, "tenant %s: is active; disable it first", t.Name)
		}
		active, err := queryTenants(ctx, tx,
			`WHERE parent_id = ? AND status = 'active' AND deleted_at IS NULL ORDER BY name LIMIT 1`, t.ID.String())
		if err != nil {
			return err
		}
		if len(active) > 0 {
			return detail(ErrState, "tenant %s: its child %s is active", t.Name, active[0].Name)
		}
		t.Status = Deleting
		at := s.d.now().UnixMilli()
		_, err = tx.ExecContext(ctx, `INSERT INTO deletions (tenant_id, step, asked_by, asked_at, changed_at, report)
			VALUES (?, ?, ?, ?, ?, '{}') ON CONFLICT (tenant_id) DO NOTHING`, t.ID.String(), DeletionLogs, by.actor(), at, at)
		return err
	})
}

// FinishDelete ends a deletion at once, for an operator who knows that the tenant has no rows in ClickHouse: what the state
// database has of it goes, the name becomes free, the tenant is found no more. Its row, its ledger and its audit stay, and its
// id is never used again. Errors: ErrForbidden, ErrNotFound, ErrState unless BeginDelete came first.
func (s *Tenants) FinishDelete(ctx context.Context, by Principal, ref string) error {
	return s.d.change(ctx, by, "tenant.deleted", ref, func(tx *store.Tx, rev int64, at time.Time) (Entry, error) {
		t, err := resolve(ctx, tx, by, ref)
		if err != nil {
			return Entry{}, err
		}
		if !by.IsOperator() {
			return Entry{}, ErrForbidden
		}
		if t.Status != Deleting {
			return Entry{}, detail(ErrState, "tenant %s: its deletion has not begun", t.Name)
		}
		return endDeletion(ctx, tx, rev, at, t)
	})
}

// Deletion returns how far the deletion of a tenant is, or was, by its id or name, also when the tenant is no more; of several of
// one name, the latest. It needs tenants.read. Errors: ErrNotFound, ErrForbidden.
func (s *Tenants) Deletion(ctx context.Context, by Principal, ref string) (out Deletion, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return Deletion{}, err
	}
	notFound := detail(ErrNotFound, "no deletion of a tenant %q", clip(ref))
	where, arg := `t.name = ?`, ""
	if name, err := normalName(ref); err == nil {
		arg = name
	} else if _, err := tenant.ParseID(ref); err == nil {
		where, arg = `t.id = ?`, ref
	} else {
		return Deletion{}, notFound
	}
	var found []Deletion
	err = s.d.db.View(ctx, func(tx *store.Tx) error {
		found, err = queryDeletions(ctx, tx, where+` ORDER BY d.asked_at DESC, d.tenant_id DESC`, arg)
		return err
	})
	if err != nil {
		return Deletion{}, err
	}
	for _, d := range found {
		if by.reaches(d.Tenant) {
			return d, by.Can(permission.TenantsRead, d.Tenant)
		}
	}
	return Deletion{}, notFound
}

func queryDeletions(ctx context.Context, tx *store.Tx, where string, args ...any) ([]Deletion, error) {
	return collect(ctx, tx, `SELECT d.tenant_id, t.name, d.step, d.asked_by, d.asked_at, d.changed_at, d.ended_at, d.report
		FROM deletions d JOIN tenants t ON t.id = d.tenant_id WHERE `+where, func(rows *sql.Rows) (d Deletion, err error) {
		var id, report string
		var asked, changed int64
		var ended sql.NullInt64
		if err = rows.Scan(&id, &d.Name, &d.Step, &d.AskedBy, &asked, &changed, &ended, &report); err != nil {
			return d, err
		}
		d.AskedAt, d.ChangedAt, d.EndedAt = moment(asked), moment(changed), optionalTime(ended)
		if err := json.Unmarshal([]byte(report), &d.Report); err != nil {
			return d, fmt.Errorf("report of the deletion of tenant %s: %w", id, err)
		}
		d.Tenant, err = tenant.ParseID(id)
		return d, err
	}, args...)
}
