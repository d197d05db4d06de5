package main

import (
	"encoding/json"
	"net/http"

	"github.com/headgate-io/headgate/auth/saved"
	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/oql"
	"github.com/headgate-io/headgate/query/prom"
)

// languages is what saved queries and dashboards are checked by when they are saved.
func languages() saved.Languages {
	return saved.Languages{
		Check: func(s saved.Source, vars []saved.Value) error {
			named := map[string]query.Variable{}
			for _, v := range vars {
				named[v.Name] = query.Variable{Type: oql.VarType(v.Type), Value: v.Value}
			}
			if s.Language == saved.PromQL {
				return prom.Check(s.Query, s.Step, named)
			}
			return query.Check(s.Query, s.Plan, named)
		},
		CheckValue: func(typ string, value json.RawMessage) error { return query.CheckValue(oql.VarType(typ), value) },
		CheckRange: query.CheckRange,
	}
}

// queriesAs returns what runs saved queries, as POST /api/v1/query and the Prometheus API run others: for callers whom control has
// authenticated.
func queriesAs(reader *query.Reader, opts query.HandlerOptions, metrics *prom.Handler) control.Queries {
	return func(scope tenant.Scope, key, language string) http.Handler {
		caller := query.Caller{Scope: scope, Key: key}
		if language == saved.PromQL {
			return metrics.Questions(caller)
		}
		opts := opts
		opts.Authenticate = func(*http.Request) (query.Caller, error) { return caller, nil }
		return query.NewHandler(reader, opts)
	}
}
