package control

import (
	"errors"
	"net/http"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// decisions answers with what was refused or discarded: of the caller's own tenant, or, to the operator, of one or all.
//
// SECURITY: a key that may only send learns why it was refused itself, and nothing of other keys.
func (a *API) decisions(r *http.Request, _ http.ResponseWriter, p auth.Principal) (any, error) {
	if err := requireAny(p, auth.ScopeUsage, auth.ScopeIngest); err != nil {
		return nil, err
	}
	size, err := pageSize(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	f := metering.RefusalFilter{Reason: metering.Reason(q.Get("reason")), Key: q.Get("key"), Limit: size, Cursor: q.Get("cursor")}
	if f.From, err = moment("from", q.Get("from")); err != nil {
		return nil, err
	}
	if f.To, err = moment("to", q.Get("to")); err != nil {
		return nil, err
	}
	if err := p.Require(auth.ScopeUsage); err != nil {
		if f.Key != "" && f.Key != p.KeyID() {
			return nil, err
		}
		f.Key = p.KeyID()
	}
	id, err := a.ownTenant(r, p, permission.UsageRead)
	if err != nil {
		return nil, err
	}
	var page metering.Refusals
	if id.IsZero() { // the operator, who has named none
		page, err = a.Ledger.UnsafeRefusalsOfAll(r.Context(), f)
	} else {
		f.Tenants = []tenant.ID{id}
		page, err = a.Ledger.Refusals(r.Context(), f)
	}
	if errors.Is(err, metering.ErrFilter) {
		return nil, invalid("%s", clip(err.Error()))
	}
	if err != nil {
		return nil, err
	}
	return page, nil
}
