package auth

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// stateKind is a table of the state database as it is exported: columns are its names in the export too. key are those, of the
// columns, by which rows are ordered and no two are alike; every ? of where is the tenant's id.
//
// SECURITY: columns are named one by one, so that a secret that a later version keeps in a table is in no export.
type stateKind struct {
	table, columns, key, where string
}

const itsOwn = `tenant_id = ?`

// stateKinds are what an export has of a tenant beside telemetry, by table.
var stateKinds = []stateKind{
	{"access_requests", `id, user_id, user_email, note, role, permissions, seconds, until, status, requested_at, expires_at, decided_by, decided_at`, `id`, itsOwn},
	{"alerts", `id, kind, owner, owner_id, limit_id, signal, day, threshold, used, max, at`, `id`, itsOwn},
	{"api_keys", `id, name, owner_user, scopes, daily_bytes, limits, cors_origins, client_certs, created_at, expires_at, revoked_at, last_used_at, rotated_at, old_until, old_used_at`, `id`, itsOwn},
	// SECURITY: not acting, the tenant that somebody from above acted in.
	{"audit", `id, at, actor, address, action, target, outcome, detail, seq, hash`, `id`, itsOwn},
	{"email_domains", `domain, added_at`, `domain`, itsOwn},
	{"roles", `id, name, permissions, created_at, changed_at, deleted_at`, `id`, itsOwn},
	{"saved", `id, kind, name, description, owner_user, sharing, team_id, definition, created_at, changed_at`, `id`, itsOwn},
	{"team_members", `team_id, user_id`, `team_id, user_id`, `team_id IN ` + itsTeams},
	{"team_roles", `team_id, role`, `team_id, role`, `team_id IN ` + itsTeams},
	{"teams", `id, name, created_at, changed_at, deleted_at`, `id`, itsOwn},
	{"tenant_grants", `user_id, tenant_id, granted_at, granted_by, withdrawn_at`, `user_id, tenant_id`, `user_id IN ` + itsUsers},
	// SECURITY: not parent_id, which is of another tenant.
	{"tenants", `id, name, slug, status, daily_bytes, limits, time_zone, retention_days, at_limit, placement, keep_resends, owner_email, plan_id, edition_id, subscription_id, region, second_factor, max_users, max_keys, query_tier, created_at, changed_at`, `id`, `id = ?`},
	{"usage_aside", `log_id, hour, signal, records, unknown`, `log_id, hour, signal`, itsOwn},
	{"usage_corrections", `id, hour, corrects, signal, key_id, billed_bytes, overage_bytes, unbilled_bytes, records, requests, rejected_records, source, reason, recorded_at`, `id`, itsOwn},
	{"usage_hours", `hour, signal, key_id, billed_bytes, overage_bytes, unbilled_bytes, records, requests, rejected_records, refused_bytes, refused_requests`, `hour, signal, key_id`, itsOwn},
	{"usage_names", `since, name`, `since`, itsOwn},
	{"usage_refusals", `hour, signal, key_id, reason, bytes, records, requests, first_at, last_at, last_text`, `hour, signal, key_id, reason`, itsOwn},
	{"users", `id, email, name, status, role, issuer, subject, created_at, changed_at, signed_in_at, deleted_at`, `id`, itsOwn},
	{"webhooks", `id, url, kinds, created_at, changed_at, disabled_at`, `id`, itsOwn},
}

// notExported are tables with a tenant's rows that an export leaves out, with why.
var notExported = map[string]string{
	"audit_heads": "the audit has it", "day_leases": "of the moment", "day_use": "of the day, the usage has it", "deletions": "of deletions",
	"idempotency": "sealed answers, with keys", "outbox": "messages, with tokens", "recovery_codes": "secrets", "sessions": "secrets",
	"tokens": "secrets", "webhook_deliveries": "of the moment",
}

// ExportKinds returns what ExportState exports, in order.
func ExportKinds() (out []string) {
	for _, k := range stateKinds {
		out = append(out, k.table)
	}
	return out
}

// ExportState hands the rows of a kind that a tenant has to emit, as JSON objects on a line each, in the order of their keys, and
// returns how many there were. It holds a page at a time, which is as of one moment; others may be of later ones. It needs what
// Exportable needs. Errors: ErrNotFound for the kind or the tenant, ErrForbidden, and those of emit.
func (s *Tenants) ExportState(ctx context.Context, by Principal, id tenant.ID, kind string, emit func(line []byte) error) (rows int64, err error) {
	at := slices.IndexFunc(stateKinds, func(k stateKind) bool { return k.table == kind })
	if at < 0 {
		return 0, detail(ErrNotFound, "no part %q of an export", clip(kind))
	}
	k := stateKinds[at]
	var last []any // the key of the last row
	for {
		if err := by.Can(permission.TenantsDelete, id); err != nil {
			return rows, err
		}
		var page [][]byte
		err := s.d.db.View(ctx, func(tx *store.Tx) (err error) {
			page, last, err = k.page(ctx, tx, id, last)
			return err
		})
		if err != nil {
			return rows, fmt.Errorf("export %s: %w", kind, err)
		}
		for _, line := range page {
			if err := emit(line); err != nil {
				return rows, err
			}
			rows++
		}
		if len(page) < maxPage {
			return rows, nil
		}
	}
}

// page returns the rows after that with the key last, nil for the first ones.
func (k stateKind) page(ctx context.Context, tx *store.Tx, id tenant.ID, last []any) (lines [][]byte, next []any, err error) {
	names, keys := strings.Split(k.columns, ", "), strings.Split(k.key, ", ")
	args := erasure{k.table, k.where}.arguments(id)
	more := ""
	if last != nil {
		more = ` AND (` + k.key + `) > (` + strings.Repeat(`?, `, len(keys)-1) + `?)`
		args = append(args, last...)
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+k.columns+` FROM `+k.table+` WHERE (`+k.where+`)`+more+` ORDER BY `+k.key+` LIMIT ?`, append(args, maxPage)...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		line, err := stateLine(names, values)
		if err != nil {
			return nil, nil, err
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		for _, name := range keys {
			next = append(next, values[slices.Index(names, name)])
		}
	}
	return lines, next, rows.Err()
}

// stateLine is a row as a JSON object with its members in the order of the columns, and a line's end.
func stateLine(names []string, values []any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i, name := range names {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(`"` + name + `":`)
		if err := enc.Encode(stateValue(name, values[i])); err != nil {
			return nil, err
		}
		b.Truncate(b.Len() - 1) // the line's end
	}
	b.WriteString("}\n")
	return b.Bytes(), nil
}

// stateValue is a column as it is exported: times in words, bytes in hexadecimal, JSON as it is.
func stateValue(name string, v any) any {
	switch v := v.(type) {
	case []byte:
		return hex.EncodeToString(v)
	case string:
		if (name == "detail" || name == "definition") && json.Valid([]byte(v)) {
			return json.RawMessage(v)
		}
	case int64:
		switch {
		case name == "hour" || name == "corrects":
			return time.Unix(v, 0).UTC()
		case name == "at" || name == "until" || name == "since" || name == "old_until" || strings.HasSuffix(name, "_at"):
			return time.UnixMilli(v).UTC()
		}
	}
	return v
}
