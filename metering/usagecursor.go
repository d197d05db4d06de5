package metering

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/internal/tenant"
)

// cursor is the place of a row in the order, for the question that it was an answer to.
//
// SECURITY: whose rows are shown is said with every question and never by a cursor. One that was made by hand moves within
// the question; one of another question, or of another tenant, is refused as if it were none.
type cursor struct {
	Start  int64  `json:"s"`
	Tenant string `json:"t"`
	Signal string `json:"g"`
	Key    string `json:"k"`
	Bound  string `json:"q"`
}

func cursorOf(r Row, bound string) cursor {
	return cursor{r.Start.Unix(), r.TenantID, r.Signal, r.Key, bound}
}

func (c cursor) String() string { return packCursor(c) }

func packCursor(c any) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("BUG: cursor: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

var errCursor = fmt.Errorf("%w: the cursor does not belong to this question: begin without one", ErrFilter)

func unpackCursor(s string, c any) error {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err != nil {
		return errCursor
	}
	return nil
}

func parseCursor(s, bound string) (c cursor, err error) {
	if err := unpackCursor(s, &c); err != nil || c.Start%hourSeconds != 0 || c.Bound != bound || !plain(c.Tenant+c.Signal+c.Key) {
		return cursor{}, errCursor
	}
	return c, nil
}

// bind returns what tells a question from all others: what is asked, and whose it is.
func bind(what string, tenants []tenant.ID, descendants bool, rest ...any) string {
	ids := make([]string, len(tenants))
	for i, id := range tenants {
		ids[i] = id.String()
	}
	slices.Sort(ids)
	h := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%v|%q", what, strings.Join(ids, ","), descendants, fmt.Sprint(rest...)))
	return base64.RawURLEncoding.EncodeToString(h[:12])
}

func (f Filter) bound() string {
	zone := "UTC"
	if f.Zone != nil {
		zone = f.Zone.String()
	}
	return bind("usage", f.Tenants, f.Descendants, f.From.Unix(), f.To.Unix(), " ", f.By, " ", zone, " ", f.BySignal, f.ByKey,
		" ", f.AsOf.UnixMilli())
}
