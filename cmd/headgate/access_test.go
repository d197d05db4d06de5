package main

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/control"
)

// enter makes a user and returns a session's token.
func (p *process) enter(slug, email, role string) string {
	p.t.Helper()
	var token string
	for _, args := range [][]string{
		{"user", "create", "--tenant", slug, "--email", email, "--role", role, "--password-stdin"},
		{"sign-in", "--slug", slug, "--email", email, "--password-stdin"},
	} {
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
		defer cancel()
		var out, errText bytes.Buffer
		if err := run(ctx, append(args, "--data-dir", p.dir, "--secrets-dir", cmp.Or(p.secrets, p.dir)), strings.NewReader("correct horse battery\n"), &out, &errText); err != nil {
			p.t.Fatalf("headgate %s: %v\n%s", strings.Join(args, " "), err, errText.String())
		}
		token = strings.TrimSpace(out.String())
	}
	if !strings.HasPrefix(token, "hgs_") {
		p.t.Fatalf("sign-in printed %q", token)
	}
	return token
}

// Staff of a parent look into a tenant for a time, by the command line, and both tenants can tell.
func TestStaffLookIntoATenantByTheCommandLine(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "parent")
	p.cli("tenant", "create", "child", "--parent", "parent")
	sam, ann := p.enter("parent", "sam@example.com", "viewer"), p.enter("child", "ann@example.com", "admin")
	p.mustPost("/v1/logs", p.key("child", "ingest"), record("child's secret"))
	p.flushed()
	fails := func(want string, args ...string) {
		t.Helper()
		if out, errText, err := p.try(args...); err == nil || !strings.Contains(errText, want) {
			t.Errorf("headgate %s printed %s%s, want %s", strings.Join(args, " "), out, errText, want)
		}
	}

	p.cli("role", "create", "support", "--tenant", "parent", "--permission", "queries.run", "--permission", "users.read")
	if out := p.cli("role", "set", "support", "--tenant", "parent", "--name", "Desk"); !strings.Contains(out, "role desk allows queries.run users.read") {
		t.Errorf("role set printed %s", out)
	}
	if out := p.cli("role", "list", "--tenant", "parent"); !strings.Contains(out, "root-admin") || !strings.Contains(out, "desk") {
		t.Errorf("role list printed\n%s", out)
	}
	fails("(name-taken)", "role", "create", "viewer", "--tenant", "parent", "--permission", "users.read")
	fails("give at least one --permission", "role", "create", "x")
	fails("(invalid-argument)", "role", "list")

	r := unmarshal[control.AccessRequest](t, p.cli("access", "request", "child", "--role", "desk", "--for", "1h", "--note", "ticket 4711", "--token", sam, "--json"))
	if r.Status != "pending" || r.PermissionCount != 2 {
		t.Errorf("access request printed %+v", r)
	}
	fails("(forbidden)", "access", "approve", r.ID, "--token", sam)
	if out := p.cli("access", "list", "--status", "pending", "--token", ann); !strings.Contains(out, "sam@example.com") || !strings.Contains(out, "child") {
		t.Errorf("access list printed\n%s", out)
	}
	if out := p.cli("access", "approve", r.ID, "--token", ann); !strings.Contains(out, "is active, end in ") {
		t.Errorf("access approve printed %s", out)
	}
	p.cli("access", "extend", r.ID, "--for", "8h", "--token", ann)
	if out := p.cli("access", "show", r.ID, "--token", sam); !strings.Contains(out, "decided by ann@example.com") || !strings.Contains(out, "ticket 4711") {
		t.Errorf("access show printed %s", out)
	}

	c := &client{base: "http://" + p.addr.API, token: sam}
	if err := c.do(t.Context(), http.MethodPost, "/api/v1/session/act", nil, map[string]any{"tenant": "child"}, nil); err != nil {
		t.Fatal(err)
	}
	if out := p.cli("query", "--key", sam, "--format", "ndjson", "logs"); !strings.Contains(out, "child's secret") {
		t.Errorf("the query printed %s", out)
	}
	op, err := (&clientFlags{dataDir: p.dir}).open()
	if err != nil {
		t.Fatal(err)
	}
	for _, tenant := range []string{"parent", "child"} {
		var page control.AuditPage
		if err := op.do(t.Context(), http.MethodGet, "/api/v1/audit", tenantQuery(tenant), nil, &page); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, e := range page.Entries {
			if e.Action == "query.run" && strings.Contains(string(e.Detail), "sam@example.com") && strings.Contains(string(e.Detail), r.ID) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the audit of %s has %d entries of the query", tenant, found)
		}
	}
	p.cli("access", "revoke", r.ID, "--token", ann)
	fails("(session-ended)", "query", "--key", sam, "logs")
	if out := p.cli("access", "list", "--tenant", "child"); !strings.Contains(out, "revoked") {
		t.Errorf("access list printed\n%s", out)
	}

	// Teams and grants find users by address.
	p.cli("team", "create", "Night", "--tenant", "parent", "--role", "desk")
	if out := p.cli("team", "add", "night", "sam@example.com", "--tenant", "parent"); !strings.Contains(out, "members of team night: 1") {
		t.Errorf("team add printed %s", out)
	}
	if out := p.cli("team", "members", "night", "--tenant", "parent"); !strings.Contains(out, "sam@example.com") {
		t.Errorf("team members printed\n%s", out)
	}
	fails("users that have it: 0, teams that have it: 1", "role", "delete", "desk", "--tenant", "parent")
	p.cli("team", "set", "night", "--tenant", "parent", "--role", "")
	p.cli("role", "delete", "desk", "--tenant", "parent")
	p.cli("team", "remove", "night", "sam@example.com", "--tenant", "parent")
	p.cli("team", "delete", "night", "--tenant", "parent")
	p.cli("grant", "add", "sam@example.com", "child", "--tenant", "parent")
	if out := p.cli("grant", "list", "sam@example.com", "--tenant", "parent"); !strings.Contains(out, "child") || !strings.Contains(out, "operator") {
		t.Errorf("grant list printed\n%s", out)
	}
	p.cli("grant", "withdraw", "sam@example.com", "child", "--tenant", "parent")
	fails("(not-found)", "grant", "withdraw", "sam@example.com", "child", "--tenant", "parent")
}
