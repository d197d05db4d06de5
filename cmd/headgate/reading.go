package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
)

// TenantHeader names, by commas, the tenants that a query reads of those that its caller may read.
//
// SECURITY: it is no credential. What it names beyond the caller's own set is answered like what does not exist.
const TenantHeader = "X-Tenant"

// queryCaller returns who sends a query: an API key with the scope query, or a user with queries.run where the user acts. Tenants other
// than the caller's home are recorded as read when the query has named those that it reads.
func queryCaller(d *auth.Directory) func(*http.Request) (query.Caller, error) {
	return func(r *http.Request) (query.Caller, error) {
		p, err := control.AuthenticateQuery(d, r)
		if err != nil {
			return query.Caller{}, err
		}
		may := p.Scope()
		if named := namedTenants(r); len(named) > 0 {
			if may, err = d.Narrow(may, named); err != nil {
				return query.Caller{}, control.Problem(err)
			}
		}
		return query.Caller{Scope: may, Key: p.KeyID(), Read: func(ctx context.Context, tenants []string) (tenant.Scope, error) {
			s, err := d.Narrow(may, tenants)
			if err == nil {
				err = d.AuditScope(ctx, p, s, "query.run")
			}
			if err != nil {
				return tenant.Scope{}, control.Problem(err)
			}
			return s, nil
		}}, nil
	}
}

// queryReader is queryCaller for interfaces whose requests name no tenants but by TenantHeader.
func queryReader(d *auth.Directory) func(*http.Request) (query.Caller, error) {
	caller := queryCaller(d)
	return func(r *http.Request) (query.Caller, error) {
		c, err := caller(r)
		if err == nil {
			c.Scope, err = c.Read(r.Context(), nil)
		}
		if err != nil {
			return query.Caller{}, err
		}
		return c, nil
	}
}

// namedTenants are those that the header names.
func namedTenants(r *http.Request) (out []string) {
	for _, line := range r.Header.Values(TenantHeader) {
		for ref := range strings.SplitSeq(line, ",") {
			if ref = strings.TrimSpace(ref); ref != "" {
				out = append(out, ref)
			}
		}
	}
	return out
}
