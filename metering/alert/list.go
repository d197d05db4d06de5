package alert

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// States of deliveries.
const (
	StatePending   = "pending"
	StateDelivered = "delivered"
	StateFailed    = "failed" // given up after a day
)

// Alert is an event as it is listed and, without Deliveries, sent.
type Alert struct {
	ID         string     `json:"id"`
	At         time.Time  `json:"at"`
	Tenant     string     `json:"tenant"` // the name
	TenantID   string     `json:"tenant_id"`
	Kind       Kind       `json:"kind"`
	Owner      string     `json:"owner,omitempty"`    // of the limit: key, tenant or parent
	OwnerID    string     `json:"owner_id,omitempty"` // of the key or tenant
	LimitID    string     `json:"limit,omitempty"`
	Signal     string     `json:"signal,omitempty"`    // absent: all signals
	Day        string     `json:"day"`                 // date of the use
	Threshold  int        `json:"threshold,omitempty"` // percent
	Used       int64      `json:"used"`
	Max        int64      `json:"max"`
	Deliveries []Delivery `json:"deliveries,omitempty"`
}

// Delivery is how far an event got to one webhook.
type Delivery struct {
	WebhookID string     `json:"webhook_id"`
	State     string     `json:"state"`
	Attempts  int64      `json:"attempts"`
	NextAt    *time.Time `json:"next_at,omitempty"` // only while pending and tried before
	LastAt    *time.Time `json:"last_at,omitempty"`
	Status    int64      `json:"status,omitempty"` // of the last answer
	Error     string     `json:"error,omitempty"`  // of the last attempt
}

// Filter selects events. The zero value is all in reach.
type Filter struct {
	Tenant    tenant.ID // narrows a reach of all to one tenant
	Kind      Kind
	Threshold int       // percent; 0 is any
	From, To  time.Time // zero is no bound
	Before    string    // id: events older than it
	Limit     int       // at least 1
}

// Alerts returns events in reach, newest first, with their deliveries to webhooks in reach: a tenant does not see that the
// operator is told too. Errors: ErrInvalid for a kind that is none or a Before that is no id.
func (s *Service) Alerts(ctx context.Context, r Reach, f Filter) (out []Alert, err error) {
	if f.Before != "" && !isID(f.Before) {
		return nil, errCursor
	}
	if f.Kind != "" {
		if _, err := checkKinds([]Kind{f.Kind}); err != nil {
			return nil, err
		}
	}
	where, args := `WHERE 1 = 1`, []any{}
	add := func(term string, value any) { where, args = where+` AND `+term, append(args, value) }
	if !r.all {
		add(`a.tenant_id = ?`, r.tenant)
	}
	if !f.Tenant.IsZero() {
		add(`a.tenant_id = ?`, f.Tenant.String())
	}
	if f.Kind != "" {
		add(`a.kind = ?`, string(f.Kind))
	}
	if f.Threshold != 0 {
		add(`a.threshold = ?`, f.Threshold)
	}
	if !f.From.IsZero() {
		add(`a.at >= ?`, f.From.UnixMilli())
	}
	if !f.To.IsZero() {
		add(`a.at < ?`, f.To.UnixMilli())
	}
	if f.Before != "" {
		add(`a.id < ?`, f.Before)
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		if out, err = queryAlerts(ctx, tx, where+` ORDER BY a.id DESC LIMIT ?`, append(args, f.Limit)...); err != nil {
			return err
		}
		return addStates(ctx, tx, r, out)
	})
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	return out, nil
}

func queryAlerts(ctx context.Context, tx *store.Tx, where string, args ...any) ([]Alert, error) {
	rows, err := tx.QueryContext(ctx, `SELECT a.id, a.at, COALESCE(t.name, ''), a.tenant_id, a.kind, a.owner, a.owner_id,
			a.limit_id, a.signal, a.day, a.threshold, a.used, a.max
		FROM alerts a LEFT JOIN tenants t ON t.id = a.tenant_id `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []Alert{}
	for rows.Next() {
		var a Alert
		var at, day int64
		err := rows.Scan(&a.ID, &at, &a.Tenant, &a.TenantID, &a.Kind, &a.Owner, &a.OwnerID, &a.LimitID, &a.Signal, &day,
			&a.Threshold, &a.Used, &a.Max)
		if err != nil {
			return nil, err
		}
		a.At, a.Day = millis(at), time.Unix(0, 0).UTC().AddDate(0, 0, int(day)).Format(time.DateOnly)
		out = append(out, a)
	}
	return out, rows.Err()
}

// addStates adds the deliveries of the alerts to webhooks in reach.
func addStates(ctx context.Context, tx *store.Tx, r Reach, alerts []Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	args, at := []any{}, map[string]*Alert{}
	for i := range alerts {
		args, at[alerts[i].ID] = append(args, alerts[i].ID), &alerts[i]
	}
	where := `WHERE d.alert_id IN (?` + strings.Repeat(`, ?`, len(alerts)-1) + `)`
	if !r.all {
		where, args = where+` AND w.tenant_id = ?`, append(args, r.tenant)
	}
	rows, err := tx.QueryContext(ctx, `SELECT d.alert_id, d.webhook_id, d.state, d.attempts, d.next_at, d.last_at,
			COALESCE(d.last_status, 0), d.last_error
		FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id `+where+` ORDER BY d.alert_id, d.webhook_id`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var d Delivery
		var alert string
		var next int64
		var last sql.NullInt64
		if err := rows.Scan(&alert, &d.WebhookID, &d.State, &d.Attempts, &next, &last, &d.Status, &d.Error); err != nil {
			return err
		}
		if d.State == StatePending && next > 0 {
			t := millis(next)
			d.NextAt = &t
		}
		if last.Valid {
			t := millis(last.Int64)
			d.LastAt = &t
		}
		at[alert].Deliveries = append(at[alert].Deliveries, d)
	}
	return rows.Err()
}
