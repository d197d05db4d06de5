package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/fleet"
)

// role is what a process does of all that headgate does. What several of the three need, all of them that need it run: who knows keys, for
// example, is in every process, and what tenants keep is measured both where their limits hold and where it is shown.
type role struct {
	receive bool // OTLP: limits, the log, its way to ClickHouse and to the ledger
	query   bool // the query languages, Prometheus, Jaeger, saved queries and dashboards
	control bool // the rest of the API, and the work that nobody asks for: webhooks, messages, daily comparisons, deletions
}

// roles are the values of --role.
var roles = map[string]role{
	fleet.All: {receive: true, query: true, control: true},
	"ingest":  {receive: true},
	"query":   {query: true},
	"control": {control: true},
}

// writes reports whether the role has a use for the account that may write to ClickHouse.
func (r role) writes() bool { return r.receive || r.control }

// api reports whether the role has --api.
func (r role) api() bool { return r.query || r.control }

// part is what the role serves of the API.
func (r role) part() control.Part {
	switch r {
	case roles["query"]:
		return control.PartQuery
	case roles["control"]:
		return control.PartControl
	}
	return ""
}

// with reports whether the two have something in common.
func (r role) with(o role) bool {
	return r.receive && o.receive || r.query && o.query || r.control && o.control
}

// flagRoles are the flags that only some roles have a use for, by what a role must do to have it. All others are everybody's; so are
// --clickhouse-reader and what belongs to it, for one file of settings for all processes names the accounts of a deployment.
var flagRoles = []struct {
	of    role
	flags []string
}{
	{role{receive: true}, []string{"otlp-grpc", "otlp-http", "otlp-path-prefix", "tls-cert", "tls-key", "tls-client-ca", "cors-origin", "profiles",
		"max-connections", "max-peer-connections", "max-auth-failures", "max-body", "max-inflight", "max-tenant-inflight", "max-tenant-requests",
		"log-max-bytes", "log-reserve", "resend-window", "flush-delay", "flush-rows", "insert-timeout"}},
	{role{query: true}, []string{"query-timeout", "query-max-memory", "query-cache", "query-cache-age", "query-slow"}},
	{role{query: true, control: true}, []string{"api", "api-tls-cert", "api-tls-key", "trusted-proxy", "query-tiers"}},
	{role{control: true}, []string{"webhook-allow-private", "smtp-url", "public-url", "oidc-issuer", "oidc-client-id", "oidc-client-secret-file",
		"oidc-tenant", "demo"}},
	{role{}, []string{"engine-lib", "engine-memory", "engine-threads", "engine-nice"}}, // of all alone: others have a server
}

// servers reports whether ClickHouse is a server, and not the embedded engine.
func (c *Config) servers() bool { return c.ClickHouse != "" || !c.role().writes() }

// role is what the process does.
func (c *Config) role() role { return roles[c.Role] }

// checkRole reports what does not fit the role.
func (c *Config) checkRole() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	r, known := roles[c.Role]
	switch {
	case !known:
		bad("--role %q: want all, ingest, query or control", c.Role)
		return errs
	case c.Role == fleet.All:
		return nil
	}
	if c.Store == "" {
		bad("--role %s shares tenants, keys and usage with processes of other roles: add --store postgres://user@host:5432/database", c.Role)
	}
	if c.ClickHouse == "" && r.writes() {
		bad("--role %s shares telemetry with processes of other roles: add --clickhouse http://user:pass@host:8123/db; the embedded engine is for --role all", c.Role)
	}
	if r.query && c.Server.Reader == "" {
		bad("--role query needs an account that only reads: make it by headgate clickhouse-setup, and name it with --clickhouse-reader")
	}
	for _, f := range flagRoles {
		if r.with(f.of) {
			continue
		}
		for _, name := range f.flags {
			if c.given != nil && c.given(name) {
				bad("--%s means nothing to --role %s: leave it out, it is for --role %s", name, c.Role, rolesWith(f.of))
			}
		}
	}
	return errs
}

// rolesWith are the names of the roles that do some of it.
func rolesWith(of role) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(roles)), func(name string) bool { return name != fleet.All && !roles[name].with(of) })
	return strings.Join(names, " or ")
}
