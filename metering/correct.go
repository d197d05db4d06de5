package metering

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

const (
	// MaxReasonBytes bounds the reason of a correction.
	MaxReasonBytes = 500
	// MaxCorrection bounds the bytes and the records of one correction, of either sign: 1 PiB.
	MaxCorrection = 1 << 50

	sourceLate     = "late"
	sourceOperator = "operator"

	lateReason = "received before the hour was sealed, applied after it"
)

// What a correction can be refused for; the text after it says why and may be shown to the caller.
var (
	// ErrCorrection says that it makes no sense.
	ErrCorrection = errors.New("correction")
	// ErrBelowZero says that less than nothing would be left of the corrected hour.
	ErrBelowZero = errors.New("correction takes more than the hour has")
	// ErrCorrectionTaken says that another correction has its id.
	ErrCorrectionTaken = errors.New("another correction has this id")
)

// Correction changes what is billed for an hour without changing the hour: a row of its own, dated in the hour that was the
// first open one when it was recorded, and invoiced with that. It never changes, and is sealed with the hour it is dated in.
type Correction struct {
	ID          string    `json:"id"`
	Hour        time.Time `json:"hour"`     // dated: with which hour it is invoiced
	Corrects    time.Time `json:"corrects"` // the hour that it belongs to
	Tenant      string    `json:"tenant"`   // the name
	TenantID    string    `json:"tenant_id"`
	Signal      Signal    `json:"signal"`
	Key         string    `json:"key"`
	BilledBytes int64     `json:"billed_bytes"` // of either sign, like Records
	Records     int64     `json:"records"`
	Requests    int64     `json:"requests"`
	Source      string    `json:"source"` // late or operator
	Reason      string    `json:"reason"`
	RecordedAt  time.Time `json:"recorded_at"`
	State       State     `json:"state"` // of Hour
}

// NewCorrection is what an operator asks for.
type NewCorrection struct {
	ID          string // 1 to 64 characters; the same correction with the same id is recorded once
	Tenant      tenant.ID
	Hour        time.Time // that is corrected, rounded down; not after now
	Signal      Signal
	Key         string // "" where the amount is no key's
	BilledBytes int64
	Records     int64
	Reason      string
}

func (n NewCorrection) check(now time.Time) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrCorrection, fmt.Sprintf(format, args...))
	}
	switch {
	case n.ID == "" || len(n.ID) > 64 || !plain(n.ID):
		return bad("id: want 1 to 64 printable characters")
	case n.Tenant.IsZero():
		return bad("no tenant")
	case !n.Signal.valid():
		return bad("signal %.20q: want logs, traces, metrics or profiles", string(n.Signal))
	case len(n.Key) > maxKeyBytes || !plain(n.Key):
		return bad("key: want the id of a key, or none")
	case n.Hour.Before(firstReceipt) || n.Hour.After(now):
		return bad("hour %s: want one from 1970 to now", n.Hour.UTC().Format(time.RFC3339))
	case n.BilledBytes == 0 && n.Records == 0:
		return bad("neither bytes nor records: nothing to correct")
	case abs(n.BilledBytes) > MaxCorrection || abs(n.Records) > MaxCorrection:
		return bad("more than %d bytes or records", int64(MaxCorrection))
	case strings.TrimSpace(n.Reason) == "" || len(n.Reason) > MaxReasonBytes || !plain(n.Reason):
		return bad("reason: want 1 to %d bytes of printable text", MaxReasonBytes)
	}
	return nil
}

// abs takes the smallest number for the largest.
func abs(n int64) int64 {
	if n < 0 {
		return max(-n, -(n + 1))
	}
	return n
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Correct records a correction within tx, a transaction of the store's Update that is the caller's to commit, so that
// whoever audits it does so in the same. It is dated in the first open hour, or in the hour itself if that is open. If a
// correction of the same id and content is there, that one is returned and nothing is recorded. Errors: ErrCorrection,
// ErrBelowZero, ErrCorrectionTaken.
//
// SECURITY: only for operators.
func (l *Ledger) Correct(ctx context.Context, tx *store.Tx, n NewCorrection) (Correction, error) {
	now := l.now()
	if err := n.check(now); err != nil {
		return Correction{}, err
	}
	open, err := sealedThrough(ctx, tx, now)
	if err != nil {
		return Correction{}, err
	}
	corrects := hourOf(n.Hour)
	if have, err := l.recorded(ctx, tx, n, corrects, open); have.ID != "" || err != nil {
		return have, err
	}
	if err := checkLeft(ctx, tx, n, corrects); err != nil {
		return Correction{}, err
	}
	rev, err := nextRev(ctx, tx)
	if err != nil {
		return Correction{}, err
	}
	hour := max(open, corrects)
	k, s := row{n.Tenant.String(), corrects, n.Signal, n.Key}, sums{billed: n.BilledBytes, records: n.Records}
	if err := insertCorrection(ctx, tx, correctionRow{n.ID, k, s, hour, sourceOperator, n.Reason, now, rev}); err != nil {
		return Correction{}, fmt.Errorf("correct usage: %w", err)
	}
	return l.recorded(ctx, tx, n, corrects, open)
}

// recorded returns the correction that has the id, the zero one if there is none, ErrCorrectionTaken if it is another one.
func (l *Ledger) recorded(ctx context.Context, tx *store.Tx, n NewCorrection, corrects, open int64) (Correction, error) {
	found, err := queryCorrections(ctx, tx, open, `c.id = ?`, n.ID)
	if err != nil || len(found) == 0 {
		return Correction{}, err
	}
	c := found[0]
	same := c.TenantID == n.Tenant.String() && c.Corrects.Unix() == corrects && c.Signal == n.Signal && c.Key == n.Key &&
		c.BilledBytes == n.BilledBytes && c.Records == n.Records && c.Reason == n.Reason && c.Source == sourceOperator
	if !same {
		return Correction{}, ErrCorrectionTaken
	}
	return c, nil
}

// checkLeft returns ErrBelowZero if the corrected hour would have less than nothing.
func checkLeft(ctx context.Context, tx *store.Tx, n NewCorrection, corrects int64) error {
	var bytes, records int64
	at := []any{n.Tenant.String(), corrects, n.Signal, n.Key}
	err := tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(SUM(billed_bytes), 0) AS BIGINT), CAST(COALESCE(SUM(records), 0) AS BIGINT) FROM (
			SELECT billed_bytes, records FROM usage_hours WHERE tenant_id = ? AND hour = ? AND signal = ? AND key_id = ?
			UNION ALL
			SELECT billed_bytes, records FROM usage_corrections WHERE tenant_id = ? AND corrects = ? AND signal = ? AND key_id = ?
		) u`, append(at, at...)...).Scan(&bytes, &records)
	if err != nil {
		return fmt.Errorf("correct usage: %w", err)
	}
	if bytes+n.BilledBytes < 0 || records+n.Records < 0 {
		return fmt.Errorf("%w: %d bytes and %d records are left of it", ErrBelowZero, bytes, records)
	}
	return nil
}

// lateRun is a run that brought receipts of sealed hours, and what the time is.
type lateRun struct {
	log  string
	run  uint64
	open int64
	now  time.Time
}

// addLate records rows of sealed hours as corrections dated in the first open hour. The ids are those of the run's rows.
func addLate(ctx context.Context, tx *store.Tx, r lateRun, rows map[row]sums) error {
	if len(rows) == 0 {
		return nil
	}
	rev, err := nextRev(ctx, tx)
	if err != nil {
		return err
	}
	for k, s := range rows {
		h := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %d %q %q", r.log, r.run, k.tenant, k.hour, k.signal, k.key))
		c := correctionRow{sourceLate + "-" + hex.EncodeToString(h[:13]), k, s, r.open, sourceLate, lateReason, r.now, rev}
		if err := insertCorrection(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// correctionRow is a row of usage_corrections.
type correctionRow struct {
	id string
	row
	sums
	dated          int64
	source, reason string
	at             time.Time
	rev            int64
}

func insertCorrection(ctx context.Context, tx *store.Tx, c correctionRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO usage_corrections (id, tenant_id, hour, corrects, signal, key_id, billed_bytes,
			overage_bytes, unbilled_bytes, records, requests, rejected_records, source, reason, recorded_at, rev)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.id, c.tenant, c.dated, c.hour, c.signal, c.key, c.billed,
		c.overage, c.unbilled, c.records, c.requests, c.rejected, c.source, c.reason, c.at.UnixMilli(), c.rev)
	return err
}

// nextRev returns the revision of the transaction tx. Writers run one after another, so revisions are in the order of commits.
func nextRev(ctx context.Context, tx *store.Tx) (rev int64, err error) {
	err = tx.QueryRowContext(ctx, `UPDATE usage_state SET rev = rev + 1 RETURNING rev`).Scan(&rev)
	return rev, err
}

func queryCorrections(ctx context.Context, tx *store.Tx, open int64, where string, args ...any) ([]Correction, error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.id, c.hour, c.corrects, COALESCE(t.name, ''), c.tenant_id, c.signal, c.key_id,
			c.billed_bytes, c.records, c.requests, c.source, c.reason, c.recorded_at
		FROM usage_corrections c LEFT JOIN tenants t ON t.id = c.tenant_id WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []Correction{}
	for rows.Next() {
		var c Correction
		var hour, corrects, recorded int64
		err := rows.Scan(&c.ID, &hour, &corrects, &c.Tenant, &c.TenantID, &c.Signal, &c.Key, &c.BilledBytes, &c.Records,
			&c.Requests, &c.Source, &c.Reason, &recorded)
		if err != nil {
			return nil, err
		}
		c.Hour, c.Corrects = time.Unix(hour, 0).UTC(), time.Unix(corrects, 0).UTC()
		c.RecordedAt, c.State = time.UnixMilli(recorded).UTC(), stateOf(hour+hourSeconds, open)
		out = append(out, c)
	}
	return out, rows.Err()
}
