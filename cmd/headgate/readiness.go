package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/headgate-io/headgate/internal/fleet"
)

// readiness says why headgate is not ready for what its role is, "" once it is.
type readiness struct {
	name   string // of the role
	role   role
	reason atomic.Pointer[string]
	walls  atomic.Pointer[walls]        // nil until ClickHouse is known, and where nobody watches over them
	others atomic.Pointer[fleet.Member] // nil where there can be none
}

func (r *readiness) set(reason string) { r.reason.Store(&reason) }

// serve answers at /readyz. Data are taken while queries are refused, so that a process that receives is ready for those who send; one that
// only answers queries is not ready then. That other roles are missing is no reason not to use this process, but is said.
func (r *readiness) serve(w http.ResponseWriter, q *http.Request) {
	if r.role == roles["query"] {
		r.serveQuery(w, q)
		return
	}
	if reason := *r.reason.Load(); reason != "" {
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	text := "ready"
	if walls := r.walls.Load(); walls != nil {
		if _, unsafe := walls.state(); unsafe != "" {
			if walls.refuses {
				text += ", but queries are refused: " + unsafe
			} else {
				text += ", but " + walls.says() + ": " + unsafe
			}
		}
	}
	fmt.Fprintln(w, text+r.lacks())
}

// serveQuery answers at /readyz/query.
func (r *readiness) serveQuery(w http.ResponseWriter, _ *http.Request) {
	if !r.role.query {
		http.Error(w, "no queries are answered here: this process has --role "+r.name, http.StatusNotFound)
		return
	}
	reason := *r.reason.Load()
	if walls := r.walls.Load(); reason == "" && walls != nil {
		known, unsafe := walls.state()
		if reason = unsafe; !known {
			reason = "the walls between tenants are not checked yet"
		}
	}
	if reason != "" {
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready"+r.lacks())
}

// lacks says which roles no process has, "" if there are processes of all.
func (r *readiness) lacks() string {
	others := r.others.Load()
	if others == nil {
		return ""
	}
	missing := others.Missing()
	if len(missing) == 0 {
		return ""
	}
	return ", but no process has the role " + strings.Join(missing, ", nor one ")
}

// serveWalls answers at /debug/walls.
func (r *readiness) serveWalls(w http.ResponseWriter, q *http.Request) {
	walls := r.walls.Load()
	switch {
	case walls == nil && !r.role.query:
		http.Error(w, "nobody watches over the walls here: this process has --role "+r.name, http.StatusNotFound)
	case walls == nil:
		http.Error(w, *r.reason.Load(), http.StatusServiceUnavailable)
	default:
		walls.serveReport(w, q)
	}
}

// fleetReport is what --telemetry tells at /debug/fleet.
type fleetReport struct {
	Missing   []string        `json:"missing"`   // roles that no process has
	Processes []fleet.Process `json:"processes"` // seen within a day
}

// serveFleet answers at /debug/fleet.
func (r *readiness) serveFleet(w http.ResponseWriter, _ *http.Request) {
	report := fleetReport{[]string{}, []fleet.Process{}}
	if others := r.others.Load(); others != nil {
		report = fleetReport{append(report.Missing, others.Missing()...), append(report.Processes, others.Processes()...)}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = printJSON(w, report)
}
