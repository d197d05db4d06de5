package control

import (
	"net/http"
	"slices"

	"github.com/headgate-io/headgate/auth"
)

// Readable is a tenant whose telemetry the caller may read.
type Readable struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// QueryScope is a page of the tenants that the caller's queries read when they name none.
type QueryScope struct {
	Tenants []Readable `json:"tenants"`
	Total   int        `json:"total"` // of all pages; a query that reads more than max names some of them
	Max     int        `json:"max"`
	Next    string     `json:"next,omitempty"`
}

func (a *API) queryScope(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	all := a.Directory.Readable(p.Scope())
	page := QueryScope{Tenants: []Readable{}, Total: len(all), Max: auth.MaxScope}
	after := r.URL.Query().Get("cursor")
	all = slices.DeleteFunc(all, func(t auth.Tenant) bool { return t.Name <= after })
	if len(all) > size {
		all, page.Next = all[:size], all[size-1].Name
	}
	for _, t := range all {
		page.Tenants = append(page.Tenants, Readable{t.ID.String(), t.Name})
	}
	return page, nil
}
