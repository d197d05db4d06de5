package policy

import "strings"

// Status is how a check came out.
type Status string

const (
	OK   Status = "ok"
	Warn Status = "warn" // works, but an operator should know
	Fail Status = "fail" // tenants are not kept apart by this wall
)

// Finding is what one check found. It tells no secret and nothing of a tenant.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do about it
}

// Unsafe returns what failed, in one line, and "" if nothing did.
func Unsafe(findings []Finding) string {
	var out []string
	for _, f := range findings {
		if f.Status == Fail {
			out = append(out, f.Check+": "+f.Detail)
		}
	}
	return strings.Join(out, "; ")
}
