package control

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store"
)

// unaudited are endpoints that change nothing, with why there is no entry.
var unaudited = map[string]string{
	"POST /api/v1/usage/verify":                              "it reads and compares",
	"POST /api/v1/saved-queries/{query}/run":                 "it reads",
	"POST /api/v1/dashboards/{dashboard}/panels/{panel}/run": "it reads",
	"POST /api/v1/webhooks/{webhook}/test":                   "it sends a message and keeps nothing",
}

// notWalked are endpoints whose requests need more than can be made here: what a user is sent, or has on a telephone.
var notWalked = map[string]string{
	"POST /api/v1/invitations/accept":                   "the token of a message",
	"POST /api/v1/password-reset":                       "it answers before anything is done",
	"POST /api/v1/password-reset/accept":                "the token of a message",
	"POST /api/v1/account/second-factor":                "begins what a code ends",
	"POST /api/v1/account/second-factor/confirm":        "a code",
	"POST /api/v1/account/second-factor/recovery-codes": "a code",
	"DELETE /api/v1/account/second-factor":              "a code",
	"DELETE /api/v1/account/sessions/{session}":         "another session of the caller",
	"DELETE /api/v1/usage/replicas/{log}":               "a log that is lost",
}

// auditedBodies are bodies that change something where those of matrixRequests do not.
var auditedBodies = map[string]string{
	"POST /api/v1/tenants/{tenant}/move": `{"parent":"org-sibling"}`,
	"POST /api/v1/sign-in":               `{"slug":"org-own","email":"viewer@example.com","password":"` + testPassword + `"}`,
}

// auditedAs says who makes a request where the operator cannot.
var auditedAs = map[string]string{
	"POST /api/v1/access-requests":                           "viewer",
	"POST /api/v1/access-requests/{request}/clone":           "admin",
	"POST /api/v1/session/act":                               "viewer",
	"POST /api/v1/sign-out":                                  "viewer",
	"POST /api/v1/sign-out-everywhere":                       "viewer",
	"PATCH /api/v1/account":                                  "viewer",
	"PUT /api/v1/account/password":                           "viewer",
	"GET /api/v1/saved-queries":                              "viewer",
	"POST /api/v1/saved-queries":                             "editor",
	"GET /api/v1/saved-queries/{query}":                      "viewer",
	"PATCH /api/v1/saved-queries/{query}":                    "admin",
	"DELETE /api/v1/saved-queries/{query}":                   "admin",
	"POST /api/v1/saved-queries/{query}/clone":               "editor",
	"GET /api/v1/dashboards":                                 "viewer",
	"POST /api/v1/dashboards":                                "editor",
	"GET /api/v1/dashboards/{dashboard}":                     "viewer",
	"PATCH /api/v1/dashboards/{dashboard}":                   "admin",
	"DELETE /api/v1/dashboards/{dashboard}":                  "admin",
	"POST /api/v1/dashboards/{dashboard}/clone":              "editor",
	"POST /api/v1/saved-queries/{query}/run":                 "viewer",
	"POST /api/v1/dashboards/{dashboard}/panels/{panel}/run": "viewer",
}

// Every endpoint that changes something writes an entry with the change; when the entry cannot be written, nothing is changed.
func TestEveryChangeIsKeptWithItsEntryOrNotAtAll(t *testing.T) {
	m := newMatrix(t)
	all := m.endpoints()
	const last = "DELETE /api/v1/tenants/{tenant}" // others need the tenant
	order := func(e endpoint) string {
		if e.method+" "+e.path == last {
			return "~"
		}
		return e.path + e.method
	}
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(order(a), order(b)) })
	for _, e := range all {
		name := e.method + " " + e.path
		if e.method == http.MethodGet || unaudited[name] != "" || notWalked[name] != "" {
			continue
		}
		who := auditedAs[name]
		if who == "" {
			who = "operator"
		}
		q := m.request(e, "own")
		if name == last {
			m.make("POST", "/api/v1/tenants/leaf-own/disable", "")
			q.parts["tenant"] = "leaf-own"
		}
		path, body := q.text()
		if own := auditedBodies[name]; own != "" {
			body = own
		}

		m.breakAudit()
		before := m.state()
		if status, text := m.ask(m.token[who], q.method, path, body); status < 400 {
			t.Errorf("%s without its entry: %d %s", name, status, text)
		}
		if after := m.state(); after != before {
			t.Errorf("%s without its entry has changed something:\n%s", name, firstDifference(before, after))
		}
		m.mendAudit()

		entries := m.count(`SELECT COUNT(*) FROM audit WHERE outcome = 'ok'`)
		status, text := m.ask(m.token[who], q.method, path, body)
		if status >= 300 {
			t.Errorf("%s as %s: %d %s: give matrixRequests or auditedAs what it needs", name, who, status, text)
		}
		if m.count(`SELECT COUNT(*) FROM audit WHERE outcome = 'ok'`) == entries {
			t.Errorf("%s: %d without an entry", name, status)
		}
		m.used("own")
		m.restore(e, "own", who)
	}
	verified := ok[AuditVerified](m.server, 200, m.operator, "POST", "/api/v1/audit/verify", `{}`)
	if !verified.OK || verified.Chains < 12 {
		t.Errorf("the chains after all that: %+v", verified)
	}
}

func (m *matrix) breakAudit() {
	m.exec(`CREATE TRIGGER audit_fails BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END`)
}

func (m *matrix) mendAudit() { m.exec(`DROP TRIGGER audit_fails`) }

// state is every row of every table, but what is no change of the control plane: last uses.
func (m *matrix) state() string {
	m.t.Helper()
	var out strings.Builder
	err := m.db.View(m.t.Context(), func(tx *store.Tx) error {
		names, err := tx.QueryContext(m.t.Context(), `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`)
		if err != nil {
			return err
		}
		var tables []string
		for names.Next() {
			var name string
			if err := names.Scan(&name); err != nil {
				return err
			}
			tables = append(tables, name)
		}
		if err := names.Close(); err != nil {
			return err
		}
		for _, table := range tables {
			rows, err := tx.QueryContext(m.t.Context(), `SELECT * FROM `+table)
			if err != nil {
				return err
			}
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			for rows.Next() {
				values := make([]any, len(columns))
				at := make([]any, len(columns))
				for i := range values {
					at[i] = &values[i]
				}
				if err := rows.Scan(at...); err != nil {
					return err
				}
				out.WriteString(table)
				for i, v := range values {
					if raw, ok := v.([]byte); ok {
						v = hex.EncodeToString(raw)
					}
					if columns[i] != "seen_at" && columns[i] != "last_used_at" {
						fmt.Fprintf(&out, " %s=%v", columns[i], v)
					}
				}
				out.WriteByte('\n')
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return out.String()
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] + "\n" + y[i]
		}
	}
	return "rows were added or removed at the end"
}
