package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/store"
)

// errChanged answers a change that was made for another state of the resource.
var errChanged = httpapi.Errorf(http.StatusPreconditionFailed, "changed-meanwhile", "the resource is not in the state that If-Match names: read it again, then decide")

// measured are members of resources that nobody sets. They are no part of the state that an ETag names: else a key could not be
// changed while it is used.
var measured = []string{"storage_bytes", "last_used_at", "old_used_at", "seen_at", "signed_in_at", "left_seconds"}

// tagOf returns the ETag of a resource as it is answered. The resource is a JSON object.
func tagOf(body []byte) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) == nil {
		for _, name := range measured {
			delete(members, name)
		}
		if state, err := json.Marshal(members); err == nil { // members are sorted
			body = state
		}
	}
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// isResource reports whether a route shows one resource.
func (rt route) isResource() bool {
	if rt.method != http.MethodGet || rt.answer == nil || reflect.TypeOf(rt.answer).Kind() != reflect.Struct {
		return false
	}
	return strings.HasSuffix(rt.path, "}") || rt.path == "/api/v1/account"
}

// shownBy returns the route that shows what rt changes, nil where there is none.
func shownBy(routes []route, rt route) *route {
	switch rt.method {
	case http.MethodPatch, http.MethodPut, http.MethodDelete:
	default:
		return nil
	}
	for i := range routes {
		if routes[i].path == rt.path && routes[i].isResource() {
			return &routes[i]
		}
	}
	return nil
}

// matching returns r for a change that is made only while the resource has a tag of If-Match, which is asked twice: at once, and
// within the transaction of the change, while no other can be committed.
func (a *API) matching(show *route, w http.ResponseWriter, r *http.Request, p auth.Principal) (*http.Request, error) {
	tags := strings.Join(r.Header.Values("If-Match"), ",")
	if tags == "" {
		return r, nil
	}
	if show == nil {
		return nil, httpapi.Errorf(http.StatusPreconditionFailed, errChanged.Code, "nothing with an ETag is shown at this path")
	}
	plain := r.Clone(auth.Peek(r.Context()))
	plain.Method, plain.Body = http.MethodGet, http.NoBody
	check := func() error {
		shown, err := show.handle(plain, w, p)
		if err != nil {
			return err
		}
		if !matches(tags, tagOf(httpapi.JSON(shown))) {
			return errChanged
		}
		return nil
	}
	if err := check(); err != nil {
		return nil, err
	}
	held := false
	return r.WithContext(auth.WithHold(r.Context(), func(context.Context, *store.Tx) error {
		if held { // a later step of the same change, which sees its own
			return nil
		}
		held = true
		return check()
	})), nil
}

// matches compares as strongly as RFC 9110 §13.1.1 asks for.
func matches(tags, tag string) bool {
	for _, t := range strings.Split(tags, ",") {
		if t = strings.TrimSpace(t); t == tag || t == "*" {
			return true
		}
	}
	return false
}
