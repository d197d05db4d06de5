package auth

import (
	"slices"

	"github.com/headgate-io/headgate/internal/tenant"
)

// KeyScope is what an API key may be used for.
type KeyScope string

// The scopes of keys: send telemetry, read telemetry, read usage, manage the tenant's keys. With ScopeDescendants, ScopeQuery reads the
// telemetry of all tenants below too, those to come included; it opens nothing by itself.
const (
	ScopeIngest      KeyScope = "ingest"
	ScopeQuery       KeyScope = "query"
	ScopeUsage       KeyScope = "usage"
	ScopeAdmin       KeyScope = "admin"
	ScopeDescendants KeyScope = "descendants"
)

// Principal is who is asking: an API key of a tenant, a user by a session, or the operator. It is an immutable value made by Authenticate, Session
// and Operator alone; the zero Principal is nobody and may do nothing. It states what held when it was made, so it is made
// anew for each request or RPC, which is how revocation reaches open connections.
type Principal struct{ g *grant }

// grant is what a Principal carries, built once per key and state of the directory, never changed afterwards.
type grant struct {
	err       *Error // why the key is refused, nil if it is not
	operator  bool
	tenant    tenant.ID
	name      string
	scope     tenant.Scope // of a key; a user's is looked up
	keyID     string
	scopes    []KeyScope
	origins   []string // that browsers may send from; none: not said
	partition string
	retention uint16
	atLimit   tenant.Policy
	limits    []tenant.Limit

	keepResends bool

	// Of a user's session; tenant is where the user acts.
	directory *Directory
	user      string
	session   string
	home      tenant.ID
	enrol     bool // the user must enrol a second factor, and may do nothing else
}

var nobody = &grant{}

func (p Principal) grant() *grant {
	if p.g == nil {
		return nobody
	}
	return p.g
}

// Tenant returns the tenant that the principal acts for, zero for the operator.
func (p Principal) Tenant() tenant.ID { return p.grant().tenant }

// TenantName returns the tenant's name, "" for the operator.
func (p Principal) TenantName() string { return p.grant().name }

// Scope returns the tenants whose telemetry the principal may read: ScopeAt the tenant that it acts for.
//
// SECURITY: the operator's is not valid. Operators read no telemetry without a key of the tenant.
func (p Principal) Scope() tenant.Scope { return p.ScopeAt(p.Tenant()) }

// KeyID returns the id of the API key, "" for the operator.
func (p Principal) KeyID() string { return p.grant().keyID }

// IsOperator reports whether the principal was made from the operator token.
func (p Principal) IsOperator() bool { return p.grant().operator }

// Require returns nil if the principal has the scope, ErrScope if not, ErrNoCredential for the zero Principal. The operator
// has usage and admin, for all tenants.
func (p Principal) Require(s KeyScope) error {
	if p.g == nil {
		return ErrNoCredential
	}
	if !slices.Contains(p.g.scopes, s) {
		return ErrScope
	}
	return nil
}

// Partition returns where rows of the tenant are stored.
func (p Principal) Partition() string { return p.grant().partition }

// RetentionDays returns how long rows of the tenant are kept.
func (p Principal) RetentionDays() uint16 { return p.grant().retention }

// AtLimit returns the tenant's policy.
func (p Principal) AtLimit() tenant.Policy { return p.grant().atLimit }

// KeepResends reports whether requests of the tenant are stored each time they are sent.
func (p Principal) KeepResends() bool { return p.grant().keepResends }

// Limits returns the chain that bytes are counted against: the key, its tenant, the tenant's parent, and so on to the
// root. The caller owns the slice.
func (p Principal) Limits() []tenant.Limit { return slices.Clone(p.grant().limits) }

// Chain is Limits, shared by all who ask until something in it changes: it is not to be changed, and its address names it.
func (p Principal) Chain() []tenant.Limit { return p.grant().limits }

// actor names the principal in the audit.
func (p Principal) actor() string {
	switch {
	case p.grant().operator:
		return "operator"
	case p.grant().keyID != "":
		return "key:" + p.g.keyID
	case p.grant().user != "":
		return "user:" + p.g.user
	}
	return "nobody"
}

// reaches reports whether p may manage things that belong to the tenant.
func (p Principal) reaches(id tenant.ID) bool {
	if p.Require(ScopeAdmin) != nil || id.IsZero() {
		return false
	}
	_, reached := p.Permissions(id)
	return reached
}
