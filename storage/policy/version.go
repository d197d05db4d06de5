package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// bypass is a way around readonly or around row policies that ClickHouse has closed: in these versions of its branches, and
// in every newer branch.
type bypass struct {
	what  string
	fixed []string
}

// SECURITY: the capability cannot be forged, so neither shows another tenant's rows to statements that headgate prints; both
// take away from what would hold if something else than headgate's SQL reached the reader.
var bypasses = []bypass{
	{"a SETTINGS clause in a subquery lifts settings under readonly=1", []string{"26.3.27.4", "26.6.4.51", "26.7.6.49", "26.8.2.2"}},
	{"mergeTreeIndex() reads primary keys past row policies", []string{"26.7.6.5"}},
}

// OpenBypasses returns which of the known bypasses a version of ClickHouse still has. A version that is none has all.
func OpenBypasses(version string) (open []string) {
	v, err := parseVersion(version)
	for _, b := range bypasses {
		if err != nil || !fixedIn(v, b.fixed) {
			open = append(open, b.what)
		}
	}
	return open
}

// fixedIn reports whether v is at least the fixed version of its branch, or of a branch newer than all of fixed.
func fixedIn(v [4]int, fixed []string) bool {
	newest := [2]int{}
	for _, text := range fixed {
		f, err := parseVersion(text)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		branch := [2]int{f[0], f[1]}
		if branch == [2]int{v[0], v[1]} {
			return v[2] > f[2] || v[2] == f[2] && v[3] >= f[3]
		}
		if branch[0] > newest[0] || branch[0] == newest[0] && branch[1] > newest[1] {
			newest = branch
		}
	}
	return v[0] > newest[0] || v[0] == newest[0] && v[1] > newest[1]
}

// parseVersion reads "26.7.2.1", also with text behind, as of a vendor's build.
func parseVersion(s string) (v [4]int, err error) {
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 4 {
		return v, fmt.Errorf("version %q: want four numbers", s)
	}
	if i := strings.IndexFunc(parts[3], func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		parts[3] = parts[3][:i]
	}
	for i, p := range parts {
		if v[i], err = strconv.Atoi(p); err != nil {
			return v, fmt.Errorf("version %q: want four numbers", s)
		}
	}
	return v, nil
}
