package main

import (
	"encoding/json"
	"net/http"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/oql"
)

// languages is what saved queries and dashboards are checked by when they are saved.
func languages() saved.Languages {
	return saved.Languages{
		Check: func(s saved.Source, vars []saved.Value) error {
			if s.Language != saved.OQL {
				return httpapi.Errorf(http.StatusBadRequest, query.CodeInvalid, "only OQL can be saved as yet")
			}
			named := map[string]query.Variable{}
			for _, v := range vars {
				named[v.Name] = query.Variable{Type: oql.VarType(v.Type), Value: v.Value}
			}
			return query.Check(s.Query, s.Plan, named)
		},
		CheckValue: func(typ string, value json.RawMessage) error { return query.CheckValue(oql.VarType(typ), value) },
		CheckRange: query.CheckRange,
	}
}

// queriesAs returns what runs saved queries, as POST /api/v1/query runs others: for callers whom control has authenticated.
func queriesAs(reader *query.Reader, opts query.HandlerOptions) control.Queries {
	return func(scope tenant.Scope, key string) http.Handler {
		opts := opts
		opts.Authenticate = func(*http.Request) (query.Caller, error) { return query.Caller{Scope: scope, Key: key}, nil }
		return query.NewHandler(reader, opts)
	}
}
