package metering

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// Entry is one row of the ledger as it is kept: what a key of a tenant used of a signal in one hour, or a correction that is
// dated in the hour. A sealed entry never changes.
type Entry struct {
	// ID names the entry for ever, in every answer: whoever copies the ledger puts an entry in the place of the one of the
	// same id.
	ID       string    `json:"id"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Tenant   string    `json:"tenant"`
	TenantID string    `json:"tenant_id"`
	Signal   Signal    `json:"signal"`
	Key      string    `json:"key"`
	// Corrects is the hour that a correction belongs to, zero for the usage of the hour itself.
	Corrects        time.Time `json:"corrects,omitzero"`
	Reason          string    `json:"reason,omitempty"` // of a correction
	BilledBytes     int64     `json:"billed_bytes"`
	OverageBytes    int64     `json:"overage_bytes"`
	UnbilledBytes   int64     `json:"unbilled_bytes"`
	Records         int64     `json:"records"`
	Requests        int64     `json:"requests"`
	RejectedRecords int64     `json:"rejected_records"`
	RefusedBytes    int64     `json:"refused_bytes"`
	RefusedRequests int64     `json:"refused_requests"`
	State           State     `json:"state"`

	rev          int64
	correctionID string
}

func (e Entry) isCorrection() bool { return !e.Corrects.IsZero() }

// entryPlace is the place of an entry among those of an hour.
type entryPlace struct {
	tenant, key, correction string
	signal                  Signal
}

func (e Entry) place() entryPlace { return entryPlace{e.TenantID, e.Key, e.correctionID, e.Signal} }

const entryCounts = `billed_bytes, overage_bytes, unbilled_bytes, records, requests, rejected_records`

// readHour returns entries of an hour behind a place, in their order: by tenant, signal and key, usage before corrections.
func readHour(ctx context.Context, tx *store.Tx, hour, open int64, o owners, n named, after entryPlace, limit int) ([]Entry, error) {
	args := append(n.args[:len(n.args):len(n.args)], hour)
	args = append(append(args, o.args...), hour)
	args = append(append(args, o.args...), after.tenant, after.signal, after.key, after.correction, limit)
	rows, err := tx.QueryContext(ctx, `SELECT u.tenant_id, `+n.name+`, u.signal, u.key_id, u.id, u.corrects, u.reason, u.rev,
			u.billed_bytes, u.overage_bytes, u.unbilled_bytes, u.records, u.requests, u.rejected_records,
			u.refused_bytes, u.refused_requests
		FROM (
			SELECT tenant_id, signal, key_id, '' AS id, -1 AS corrects, '' AS reason, rev, `+entryCounts+`, refused_bytes, refused_requests
			FROM usage_hours WHERE hour = ?`+o.and+`
			UNION ALL
			SELECT tenant_id, signal, key_id, id, corrects, reason, rev, `+entryCounts+`, 0, 0
			FROM usage_corrections WHERE hour = ?`+o.and+`
		) u LEFT JOIN tenants t ON t.id = u.tenant_id
		WHERE (u.tenant_id, u.signal, u.key_id, u.id) > (?, ?, ?, ?)
		ORDER BY u.tenant_id, u.signal, u.key_id, u.id LIMIT ?`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		e, err := scanEntry(rows, hour, open)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// scanEntry reads a row of tenant, name, signal, key, id, corrects, reason, rev and the counts.
func scanEntry(rows *sql.Rows, hour, open int64) (Entry, error) {
	var e Entry
	var corrects int64
	err := rows.Scan(&e.TenantID, &e.Tenant, &e.Signal, &e.Key, &e.correctionID, &corrects, &e.Reason, &e.rev, &e.BilledBytes,
		&e.OverageBytes, &e.UnbilledBytes, &e.Records, &e.Requests, &e.RejectedRecords, &e.RefusedBytes, &e.RefusedRequests)
	e.finish(hour, corrects, open)
	return e, err
}

// finish sets what follows from the hour, the corrected hour (below 0: none) and the seal.
func (e *Entry) finish(hour, corrects, open int64) {
	e.Start, e.End = time.Unix(hour, 0).UTC(), time.Unix(hour+hourSeconds, 0).UTC()
	e.State = stateOf(hour+hourSeconds, open)
	e.ID = fmt.Sprintf("%s/%s/%s/%s", e.TenantID, e.Start.Format(hourLayout), e.Signal, e.Key)
	if corrects >= 0 {
		e.Corrects = time.Unix(corrects, 0).UTC()
		e.ID = e.correctionID
	}
}

const hourLayout = "2006-01-02T15Z"
