package alert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// What a change can be refused for; the text after it may be shown.
var (
	// ErrNotFound also answers what exists but is out of reach.
	ErrNotFound = errors.New("no such webhook")
	ErrInvalid  = errors.New("not possible")
	ErrBusy     = errors.New("webhook is being spoken to; try again")
)

var errCursor = fmt.Errorf("%w: cursor is not from here", ErrInvalid)

const (
	maxURLBytes = 2048
	// maxWebhooks bounds one tenant's, and the operator's own.
	maxWebhooks = 10
)

// Reach is whose webhooks and events a caller may touch. The zero value reaches nothing.
type Reach struct {
	tenant string
	all    bool
}

// Of reaches one tenant.
func Of(id tenant.ID) Reach { return Reach{tenant: id.String()} }

// UnsafeAll reaches everything.
//
// SECURITY: only for operators.
func UnsafeAll() Reach { return Reach{all: true} }

// reaches reports whether a thing of that tenant, "" for the operator's own, is in reach.
func (r Reach) reaches(owner string) bool { return r.all || r.tenant != "" && r.tenant == owner }

// Webhook is a target of events. The secret is not part of it.
type Webhook struct {
	ID         string
	Tenant     string // id; "" is the operator's, which gets the events of all tenants
	TenantName string // as it was when the webhook was read
	URL        string
	Kinds      []Kind // sorted; none is all
	CreatedAt  time.Time
	ChangedAt  time.Time
	DisabledAt *time.Time // by its owner, or because the target has answered 410 Gone
	Failures   int        // attempts since the last success
	RetryAt    *time.Time // nothing is sent before; nil unless failing
}

// NewWebhook is what Create needs. Only URL is required.
type NewWebhook struct {
	Tenant tenant.ID // zero: the operator's
	URL    string
	Kinds  []Kind
}

// WebhookPatch is a partial change: nil fields stay.
type WebhookPatch struct {
	URL     *string
	Kinds   *[]Kind
	Enabled *bool
}

// Create makes a webhook in tx and returns the text of its secret, which cannot be shown again. Errors: ErrInvalid.
func (s *Service) Create(ctx context.Context, tx *store.Tx, n NewWebhook) (Webhook, string, error) {
	at := s.now().UTC().Truncate(time.Millisecond)
	w := Webhook{ID: newID(at), Tenant: n.Tenant.String(), URL: n.URL, CreatedAt: at, ChangedAt: at}
	var err error
	if w.Kinds, err = checkKinds(n.Kinds); err != nil {
		return Webhook{}, "", err
	}
	if err := s.checkURL(n.URL); err != nil {
		return Webhook{}, "", err
	}
	var have int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM webhooks WHERE tenant_id = ?`, w.Tenant).Scan(&have); err != nil {
		return Webhook{}, "", err
	}
	if have >= maxWebhooks {
		return Webhook{}, "", fmt.Errorf("%w: there are %d already, which is the most; delete one first", ErrInvalid, have)
	}
	secret := newSecret()
	_, err = tx.ExecContext(ctx, `INSERT INTO webhooks (id, tenant_id, url, kinds, secret, created_at, changed_at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`,
		w.ID, w.Tenant, w.URL, joinKinds(w.Kinds), s.vault.seal(w.ID, secret), at.UnixMilli(), at.UnixMilli())
	if err != nil {
		return Webhook{}, "", fmt.Errorf("create webhook: %w", err)
	}
	return w, secretText(secret), nil
}

// Change applies p to a webhook in tx and returns it as it is then. Enabling one begins anew with its waiting deliveries. Where
// the URL is given, or whether it is enabled, nothing more goes to the target of before but a message that is on its way; that
// one counts as waiting. Errors: ErrNotFound, ErrInvalid.
func (s *Service) Change(ctx context.Context, tx *store.Tx, r Reach, id string, p WebhookPatch) (Webhook, error) {
	w, err := find(ctx, tx, r, id)
	if err != nil {
		return Webhook{}, err
	}
	if p.URL != nil {
		if err := s.checkURL(*p.URL); err != nil {
			return Webhook{}, err
		}
		w.URL = *p.URL
	}
	if p.Kinds != nil {
		if w.Kinds, err = checkKinds(*p.Kinds); err != nil {
			return Webhook{}, err
		}
	}
	w.ChangedAt = s.now().UTC().Truncate(time.Millisecond)
	var disabled any
	switch {
	case p.Enabled != nil && *p.Enabled:
		w.DisabledAt = nil
	case p.Enabled != nil && w.DisabledAt == nil:
		w.DisabledAt = &w.ChangedAt
	}
	if w.DisabledAt != nil {
		disabled = w.DisabledAt.UnixMilli()
	}
	w.Failures, w.RetryAt = 0, nil // what was wrong may be right now
	_, err = tx.ExecContext(ctx, `UPDATE webhooks SET url = ?, kinds = ?, changed_at = ?, disabled_at = ?, failures = 0,
		retry_at = 0 WHERE id = ?`, w.URL, joinKinds(w.Kinds), w.ChangedAt.UnixMilli(), disabled, id)
	if err == nil && (p.URL != nil || p.Enabled != nil) { // who has the lease knows the target of before
		_, err = tx.ExecContext(ctx, `UPDATE webhooks SET lease = '', leased_until = 0 WHERE id = ?`, id)
	}
	if err != nil {
		return Webhook{}, fmt.Errorf("change webhook: %w", err)
	}
	return w, nil
}

// Delete removes a webhook and its deliveries in tx, and returns what it was. Errors: ErrNotFound.
func (s *Service) Delete(ctx context.Context, tx *store.Tx, r Reach, id string) (Webhook, error) {
	w, err := find(ctx, tx, r, id)
	if err != nil {
		return Webhook{}, err
	}
	for _, q := range []string{`DELETE FROM webhook_deliveries WHERE webhook_id = ?`, `DELETE FROM webhooks WHERE id = ?`} {
		if _, err := tx.ExecContext(ctx, q, id); err != nil {
			return Webhook{}, fmt.Errorf("delete webhook: %w", err)
		}
	}
	return w, nil
}

// Webhook returns one webhook, or ErrNotFound.
func (s *Service) Webhook(ctx context.Context, r Reach, id string) (w Webhook, err error) {
	err = s.db.View(ctx, func(tx *store.Tx) error {
		w, err = find(ctx, tx, r, id)
		return err
	})
	return w, err
}

// Webhooks returns the webhooks in reach after the given id, "" for all, oldest first. owner narrows a reach of all to one
// tenant. Errors: ErrInvalid for an after that is no id.
func (s *Service) Webhooks(ctx context.Context, r Reach, owner tenant.ID, after string, limit int) (out []Webhook, err error) {
	if after != "" && !isID(after) {
		return nil, errCursor
	}
	err = s.db.View(ctx, func(tx *store.Tx) error {
		where, args := `WHERE w.id > ?`, []any{after}
		if !r.all {
			where, args = where+` AND w.tenant_id = ? AND w.tenant_id <> ''`, append(args, r.tenant)
		}
		if !owner.IsZero() {
			where, args = where+` AND w.tenant_id = ?`, append(args, owner.String())
		}
		out, err = queryWebhooks(ctx, tx, where+` ORDER BY w.id LIMIT ?`, append(args, limit)...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	return out, nil
}

// find returns the webhook of that id.
//
// SECURITY: what is out of reach is not found, by the same error as what does not exist.
func find(ctx context.Context, tx *store.Tx, r Reach, id string) (Webhook, error) {
	if !isID(id) {
		return Webhook{}, ErrNotFound
	}
	found, err := queryWebhooks(ctx, tx, `WHERE w.id = ?`, id)
	if err != nil {
		return Webhook{}, fmt.Errorf("read webhook: %w", err)
	}
	if len(found) == 0 || !r.reaches(found[0].Tenant) {
		return Webhook{}, ErrNotFound
	}
	return found[0], nil
}

func queryWebhooks(ctx context.Context, tx *store.Tx, where string, args ...any) ([]Webhook, error) {
	rows, err := tx.QueryContext(ctx, `SELECT w.id, w.tenant_id, COALESCE(t.name, ''), w.url, w.kinds, w.created_at, w.changed_at,
			w.disabled_at, w.failures, w.retry_at
		FROM webhooks w LEFT JOIN tenants t ON t.id = w.tenant_id `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Webhook
	for rows.Next() {
		var w Webhook
		var kinds string
		var created, changed, retry int64
		var disabled sql.NullInt64
		if err := rows.Scan(&w.ID, &w.Tenant, &w.TenantName, &w.URL, &kinds, &created, &changed, &disabled, &w.Failures, &retry); err != nil {
			return nil, err
		}
		w.Kinds, w.CreatedAt, w.ChangedAt = splitKinds(kinds), millis(created), millis(changed)
		if disabled.Valid {
			at := millis(disabled.Int64)
			w.DisabledAt = &at
		}
		if w.Failures > 0 {
			at := millis(retry)
			w.RetryAt = &at
		}
		out = append(out, w)
	}
	return out, rows.Err()
}

// isID reports whether s may be an id. PostgreSQL takes no text with NUL or other than UTF-8 in it.
func isID(s string) bool {
	_, err := ulid.ParseStrict(s)
	return err == nil
}

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// checkURL refuses what could never be delivered to. The address behind a name is judged at each attempt.
func (s *Service) checkURL(text string) error {
	bad := func(why string) error { return fmt.Errorf("%w: url: %s", ErrInvalid, why) }
	if text == "" || len(text) > maxURLBytes {
		return bad(fmt.Sprintf("want 1 to %d characters", maxURLBytes))
	}
	for _, c := range []byte(text) {
		if c <= 0x20 || c >= 0x7f {
			return bad("want printable ASCII without spaces; write others as %XX and xn--")
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return bad("want https://host/path")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("want https or http")
	case u.User != nil:
		// SECURITY: a password would be listed and logged with the URL; messages are signed instead.
		return bad("no credentials in it: the signature proves who sends")
	case u.Fragment != "":
		return bad("no fragment in it")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !s.allowPrivate && !public(a) {
		return bad("its address is private or reserved")
	}
	if p := u.Port(); p != "" {
		if _, err := net.LookupPort("tcp", p); err != nil || strings.Trim(p, "0123456789") != "" || p == "0" {
			return bad("its port is none")
		}
	}
	return nil
}

func checkKinds(in []Kind) ([]Kind, error) {
	for _, k := range in {
		if !slices.Contains(Kinds, k) {
			return nil, fmt.Errorf("%w: kind %.64q: want one of %s", ErrInvalid, string(k), joinKinds(Kinds))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(in))), nil
}

func joinKinds(kinds []Kind) string {
	parts := make([]string, len(kinds))
	for i, k := range kinds {
		parts[i] = string(k)
	}
	return strings.Join(parts, ",")
}

func splitKinds(s string) (out []Kind) {
	for _, k := range strings.Split(s, ",") {
		if k != "" {
			out = append(out, Kind(k))
		}
	}
	return out
}
