package auth

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth/permission"
)

var update = flag.Bool("update", false, "write docs/administration.md anew")

// permissionTable is what the documentation says of permissions and built-in roles.
func permissionTable() string {
	var out strings.Builder
	out.WriteString("| Permission | Allows to |")
	for _, r := range permission.Builtin {
		out.WriteString(" `" + r.Name + "` |")
	}
	out.WriteString("\n| --- | --- |" + strings.Repeat(" :-: |", len(permission.Builtin)) + "\n")
	for _, p := range permission.All {
		out.WriteString("| `" + string(p.Permission) + "` | " + p.Allows + " |")
		for _, r := range permission.Builtin {
			if r.Permissions.Has(p.Permission) {
				out.WriteString(" ✓ |")
			} else {
				out.WriteString("  |")
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

func TestDocumentationListsThePermissionsThatThereAre(t *testing.T) {
	const path, begin, end = "../docs/administration.md", "<!-- permissions: begin -->\n", "<!-- permissions: end -->"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	table, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	want := permissionTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Errorf("%s differs from the code; run go test ./auth -run Documentation -update\n%s", path, want)
	}
}
