package ingest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/metering"
)

// testNames returns the top-level tests and fuzz targets of the repository, other modules' in it too.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(src, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestEveryLineHasItsTest holds docs/otlp.md against the list of lines: each is there once, with its level, and is either
// held by tests that exist or said not to be met.
func TestEveryLineHasItsTest(t *testing.T) {
	read := func(name string) string {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	page, open, ok := strings.Cut(read("../docs/otlp.md"), "\n## Not met\n")
	if !ok {
		t.Fatal("docs/otlp.md has no list of what is not met")
	}
	type line struct{ level, state string }
	described, unmet := map[string]line{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]\d+) \| (\w+!?) \| .* \| ([^|]+) \|$`).FindAllStringSubmatch(page, -1) {
		if _, twice := described[m[1]]; twice {
			t.Errorf("%s is described twice", m[1])
		}
		described[m[1]] = line{m[2], m[3]}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z]\d+) \|`).FindAllStringSubmatch(open, -1) {
		unmet[m[1]] = true
	}
	tests := testNames(t)
	listed := map[string]bool{}
	for text := range strings.Lines(read("testdata/lines.txt")) {
		f := strings.Fields(text)
		if strings.HasPrefix(text, "#") || len(f) < 3 {
			continue
		}
		id, by := f[0], f[2:]
		listed[id] = true
		if described[id].level != f[1] {
			t.Errorf("%s %s is described as %+v", id, f[1], described[id])
		}
		whole := !strings.HasPrefix(described[id].state, "in part") && !strings.HasPrefix(described[id].state, "no")
		if whole == unmet[id] {
			t.Errorf("%s is %q, and under what is not met: %v", id, described[id].state, unmet[id])
		}
		if slices.Equal(by, []string{"-"}) {
			if whole {
				t.Errorf("%s is %q, and no test holds it", id, described[id].state)
			}
			continue
		}
		for _, name := range by {
			if !tests[name] {
				t.Errorf("%s: there is no %s", id, name)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(described)) {
		if !listed[id] {
			t.Errorf("%s is described and not listed", id)
		}
	}
	for name := range tests { // an id in a name is one of the list's
		if m := regexp.MustCompile(`^Test([GHJSATDLRMPXO]\d+)[A-Z]`).FindStringSubmatch(name); m != nil && !listed[m[1]] {
			t.Errorf("%s: no line %s", name, m[1])
		}
	}
}

// TestEveryRefusalIsExplained: docs/otlp.md has each id that a sender can be refused with, its codes beside it.
func TestEveryRefusalIsExplained(t *testing.T) {
	raw, err := os.ReadFile("../docs/otlp.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(raw), "\n## Errors\n")
	page, _, _ = strings.Cut(page, "\n## ")
	explained := func(k kind) bool {
		for row := range strings.Lines(page) {
			cells := strings.Split(row, " | ")
			if len(cells) == 4 && strings.Contains(cells[0], "`"+k.id+"`") {
				return strings.Contains(cells[1], strconv.Itoa(k.http)) && strings.Contains(strings.ReplaceAll(cells[2], "_", ""), strings.ToUpper(k.grpc.String()))
			}
		}
		return false
	}
	kinds := []kind{unauthenticated, keysUnavailable, forbidden, badOrigin, notFound, badMethod, badContentType, badEncoding, undecodable, headersTooLarge,
		tooSlow, clientGone, tooLarge, tooManyRecords, limitReached, overloaded, unavailable, internalFailure}
	for _, e := range []*auth.Error{auth.ErrNoCredential, auth.ErrAmbiguousCredential, auth.ErrUnknownKey, auth.ErrExpired} {
		kinds = append(kinds, kind{e.Code, unauthenticated.http, unauthenticated.grpc})
	}
	for _, e := range []*auth.Error{auth.ErrScope, auth.ErrTenantInactive, auth.ErrCertificate} {
		kinds = append(kinds, kind{e.Code, forbidden.http, forbidden.grpc})
	}
	for _, id := range []string{metering.LimitTenant, metering.LimitKey, metering.LimitParent} {
		kinds = append(kinds, kind{id, limitReached.http, limitReached.grpc})
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files { // and no kind is made that is not in this list
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`kind\{"([a-z-]+)", http\.Status\w+, codes\.\w+\}`).FindAllStringSubmatch(string(src), -1) {
			if !slices.ContainsFunc(kinds, func(k kind) bool { return k.id == m[1] }) && !strings.Contains(page, "\n| `"+m[1]+"` |") {
				t.Errorf("%s: %s is not explained", name, m[1])
			}
		}
	}
	for _, k := range kinds {
		if !explained(k) {
			t.Errorf("%s, %d, %s is not explained", k.id, k.http, k.grpc)
		}
	}
}
