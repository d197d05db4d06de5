package auth

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
)

// maxDomains is how many domains a tenant may list.
const maxDomains = 100

// EmailDomain is one that a tenant invites people of. While a tenant lists none, it invites anybody.
type EmailDomain struct {
	Domain      string // in lower case; an international one by its xn-- form
	ActiveUsers int64
	AddedAt     time.Time
}

// Domains returns the domains that a tenant lists, in order. It takes security.manage or tenants.read. Errors: ErrNotFound,
// ErrForbidden.
func (s *Tenants) Domains(ctx context.Context, by Principal, ref string) (out []EmailDomain, err error) {
	var t Tenant
	err = s.d.db.View(ctx, func(tx *store.Tx) (err error) {
		if t, err = resolve(ctx, tx, by, ref); err != nil {
			return err
		}
		if err := by.canEither(permission.SecurityManage, permission.TenantsRead, t.ID); err != nil {
			return err
		}
		out, err = queryDomains(ctx, tx, t, "")
		return err
	})
	if err == nil {
		err = s.d.auditVisit(ctx, by, t.ID, "tenant.domain.list", t.ID.String())
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// AddDomain lists one more domain and returns it; one that is listed stays as it is. People who are there already may stay,
// whatever their address. Errors: ErrNotFound, ErrForbidden, ErrInvalid, ErrState at a hundred domains.
func (s *Tenants) AddDomain(ctx context.Context, by Principal, ref, domain string) (EmailDomain, error) {
	var added EmailDomain
	err := s.changeDomain(ctx, by, "tenant.domain.add", ref, domain, func(tx *store.Tx, t Tenant, domain string, at time.Time) error {
		listed, err := queryDomains(ctx, tx, t, "")
		if err != nil {
			return err
		}
		there := slices.ContainsFunc(listed, func(d EmailDomain) bool { return d.Domain == domain })
		if len(listed) >= maxDomains && !there {
			return detail(ErrState, "tenant %s: lists %d domains, which is the most", t.Name, len(listed))
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO email_domains (tenant_id, domain, added_at) VALUES (?, ?, ?)
			ON CONFLICT (tenant_id, domain) DO NOTHING`, t.ID.String(), domain, at.UnixMilli())
		if err != nil {
			return err
		}
		listed, err = queryDomains(ctx, tx, t, domain)
		if err == nil {
			added = listed[0]
		}
		return err
	})
	return added, err
}

// RemoveDomain lists a domain no more. Errors: ErrNotFound for a domain too, ErrForbidden, ErrState for a domain that active
// users have.
func (s *Tenants) RemoveDomain(ctx context.Context, by Principal, ref, domain string) error {
	return s.changeDomain(ctx, by, "tenant.domain.remove", ref, domain, func(tx *store.Tx, t Tenant, domain string, _ time.Time) error {
		listed, err := queryDomains(ctx, tx, t, domain)
		if err != nil {
			return err
		}
		if len(listed) == 0 {
			return detail(ErrNotFound, "no domain %q", domain)
		}
		if n := listed[0].ActiveUsers; n > 0 {
			return detail(ErrState, "domain %s: %d active users have it", domain, n)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM email_domains WHERE tenant_id = ? AND domain = ?`, t.ID.String(), domain)
		return err
	})
}

func (s *Tenants) changeDomain(ctx context.Context, by Principal, action, ref, domain string,
	fn func(tx *store.Tx, t Tenant, domain string, at time.Time) error) error {
	return s.d.change(ctx, by, action, ref, func(tx *store.Tx, _ int64, at time.Time) (Entry, error) {
		t, err := changeable(ctx, tx, by, ref, permission.SecurityManage)
		if err != nil {
			return Entry{}, err
		}
		name := lowerASCII(domain)
		if !isDomain(name) {
			return Entry{}, detail(ErrInvalid, "domain %q: want for example example.com, an international one by its xn-- form", plainText(clip(domain)))
		}
		return Entry{Tenant: t.ID, Target: name}, fn(tx, t, name, at)
	})
}

// queryDomains returns the domains of a tenant, or only the one.
func queryDomains(ctx context.Context, tx *store.Tx, t Tenant, only string) ([]EmailDomain, error) {
	out, err := collect(ctx, tx, `SELECT domain, added_at FROM email_domains WHERE tenant_id = ? AND (? = '' OR domain = ?) ORDER BY domain`,
		func(rows *sql.Rows) (d EmailDomain, err error) {
			var added int64
			err = rows.Scan(&d.Domain, &added)
			d.AddedAt = moment(added)
			return d, err
		}, t.ID.String(), only, only)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	active, err := collect(ctx, tx, `SELECT email_key FROM users WHERE tenant_id = ? AND status = 'active' AND deleted_at IS NULL`,
		func(rows *sql.Rows) (key string, err error) { return key, rows.Scan(&key) }, t.ID.String())
	if err != nil {
		return nil, err
	}
	count := map[string]int64{}
	for _, key := range active {
		count[key[strings.LastIndexByte(key, '@')+1:]]++
	}
	for i := range out {
		out[i].ActiveUsers = count[out[i].Domain]
	}
	return out, nil
}

// SetSecondFactor sets whom the tenant asks for a second factor: one of the Factor… policies. It is in force within a second, on
// sessions that have begun too. It takes security.manage. Errors: ErrNotFound, ErrForbidden, ErrInvalid, ErrState.
func (s *Tenants) SetSecondFactor(ctx context.Context, by Principal, ref, policy string) (Tenant, error) {
	return s.modify(ctx, by, "tenant.security", ref, func(_ *store.Tx, t *Tenant) error {
		if t.Status == Deleting {
			return detail(ErrState, "tenant %s: is being deleted", t.Name)
		}
		t.SecondFactor = policy
		return t.check(int(t.RetentionDays))
	})
}
