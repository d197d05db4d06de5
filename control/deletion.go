package control

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

// Deletion is how far the deletion of a tenant is, as the API shows it.
type Deletion struct {
	TenantID string     `json:"tenant_id"`
	Tenant   string     `json:"tenant"`
	Step     string     `json:"step"` // logs, rows, state, verify, done
	Doing    string     `json:"doing,omitempty"`
	Problem  string     `json:"problem,omitempty"` // of the last try; the next follows by itself
	AskedBy  string     `json:"asked_by"`
	AskedAt  time.Time  `json:"asked_at"`
	Changed  time.Time  `json:"changed_at"`
	EndedAt  *time.Time `json:"ended_at"` // null: under way
	// Away names the logs of processes that are away. They drop what they have of the tenant when they come back.
	Away        []string          `json:"away,omitempty"`
	Removed     []auth.Removed    `json:"removed"`
	Certificate *auth.Certificate `json:"certificate,omitempty"` // once it has ended
}

func showDeletion(d auth.Deletion) Deletion {
	out := Deletion{TenantID: d.Tenant.String(), Tenant: d.Name, Step: d.Step, Doing: d.Report.Doing, Problem: d.Report.Problem,
		AskedBy: d.AskedBy, AskedAt: d.AskedAt, Changed: d.ChangedAt, EndedAt: d.EndedAt, Away: d.Report.Away,
		Removed: d.Report.Removed, Certificate: d.Report.Certificate}
	if out.Certificate != nil {
		out.Removed, out.Away = out.Certificate.Removed, out.Certificate.Away
	}
	if out.Removed == nil {
		out.Removed = []auth.Removed{}
	}
	return out
}

func (a *API) deletionRoutes() []route {
	return []route{
		{"DELETE", "/api/v1/tenants/{tenant}", "Delete a disabled tenant with all its data: 204 once nothing is left, 202 when that takes longer than a few seconds, or at once with wait=false", auth.ScopeAdmin, []string{"wait"}, Confirmation{}, Deletion{}, http.StatusAccepted, a.deleteTenant},
		{"GET", "/api/v1/tenants/{tenant}/deletion", "Show how far the deletion of a tenant is, or its certificate", auth.ScopeAdmin, nil, nil, Deletion{}, 0, a.showDeletion},
	}
}

// deletionPatience is how long an answer waits for the end of a deletion.
const deletionPatience = 5 * time.Second

// deleteTenant begins the deletion of a tenant, or asks how far it is. Its answer is 204 if the deletion ends within a few
// seconds; else 202, with the place to ask for the rest.
func (a *API) deleteTenant(r *http.Request, w http.ResponseWriter, p auth.Principal) (any, error) {
	var in Confirmation
	if err := httpapi.ReadJSON(w, r, &in); err != nil {
		return nil, err
	}
	t, err := a.Directory.Tenants().BeginDelete(r.Context(), p, r.PathValue("tenant"), in.Confirm)
	if err != nil {
		return nil, err
	}
	a.Deleter.Wake()
	patience := cmp.Or(a.Deleter.Patience, deletionPatience)
	if r.URL.Query().Get("wait") == "false" {
		patience = 0
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := a.Directory.Tenants().Deletion(r.Context(), p, t.ID.String())
		if err != nil {
			return nil, err
		}
		if d.EndedAt != nil {
			w.WriteHeader(http.StatusNoContent)
			return nil, nil
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		w.Header().Set("Location", "/api/v1/tenants/"+t.ID.String()+"/deletion")
		return showDeletion(d), nil
	}
}

func (a *API) showDeletion(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	d, err := a.Directory.Tenants().Deletion(r.Context(), p, r.PathValue("tenant"))
	if err != nil {
		return nil, err
	}
	return showDeletion(d), nil
}
