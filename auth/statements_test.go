package auth

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// statement is an SQL statement in the sources. What is not written out in it is "…".
type statement struct {
	where string // package/file.go:function
	text  string
}

var (
	verb       = regexp.MustCompile(`^\s*(SELECT|UPDATE|DELETE|INSERT)\s`)
	named      = regexp.MustCompile(`(?:FROM|JOIN|UPDATE|INTO)\s+([a-z_]+)`)
	ofTenant   = regexp.MustCompile(`\b(?:tenant_id|[a-z]+\.tenant_id)\s*(?:=|IN\b)`)
	inserts    = regexp.MustCompile(`^\s*INSERT INTO [a-z_]+ \([^)]*\btenant_id\b`)
	createsOne = regexp.MustCompile(`(?s)CREATE TABLE ([a-z_]+) \((.*?)\n\)`)
)

// Every statement on a table of tenants' rows says whose rows it means, is for all tenants by its name, or stands in
// testdata/statements.txt with the reason why it may be otherwise.
func TestStatementsSayWhoseRowsTheyMean(t *testing.T) {
	owned := map[string]bool{}
	migrations, err := filepath.Glob("../internal/store/migrations/sqlite/*.sql")
	if err != nil || len(migrations) < 14 {
		t.Fatal(migrations, err)
	}
	for _, file := range migrations {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range createsOne.FindAllStringSubmatch(string(raw), -1) {
			if strings.Contains(m[2], "tenant_id") {
				owned[m[1]] = true
			}
		}
	}
	if len(owned) < 15 || !owned["api_keys"] || !owned["audit"] {
		t.Fatalf("tables of tenants' rows: %v", owned)
	}
	allowed := readReasons(t)
	found, checked := map[string]bool{}, 0
	for _, dir := range []string{"../auth", "../auth/saved", "../control", "../metering", "../metering/alert"} {
		for _, s := range statementsIn(t, dir) {
			var tables []string
			for _, m := range named.FindAllStringSubmatch(s.text, -1) {
				if owned[m[1]] {
					tables = append(tables, m[1])
				}
			}
			if len(tables) == 0 {
				continue
			}
			checked++
			if ofTenant.MatchString(s.text) || inserts.MatchString(s.text) || strings.Contains(strings.ToLower(s.where[strings.Index(s.where, ":"):]), "unsafe") {
				continue
			}
			name := s.where + " " + tables[0]
			found[name] = true
			if allowed[name] == "" {
				t.Errorf("%s: no condition on tenant_id: name whose rows are meant, or give a reason in testdata/statements.txt\n%s", name, s.text)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d statements are checked", checked)
	}
	for name := range allowed {
		if !found[name] {
			t.Errorf("testdata/statements.txt: %s is no more", name)
		}
	}
}

// readReasons reads lines of function, table and reason.
func readReasons(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/statements.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for n, line := range strings.Split(string(raw), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 {
			t.Fatalf("testdata/statements.txt:%d: want function, table and reason", n+1)
		}
		out[f[0]+" "+f[1]] = strings.Join(f[2:], " ")
	}
	return out
}

func statementsIn(t *testing.T, dir string) (out []statement) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			function := "-"
			if fn, ok := decl.(*ast.FuncDecl); ok {
				function = fn.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, isText := textOf(e)
				if !isText {
					return true
				}
				if verb.MatchString(text) {
					out = append(out, statement{fmt.Sprintf("%s:%s", strings.TrimPrefix(filepath.ToSlash(file), "../"), function), text})
				}
				return false
			})
		}
	}
	return out
}

// textOf returns a text constant, or a sum with one.
func textOf(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		x, okX := textOf(e.X)
		y, okY := textOf(e.Y)
		if e.Op != token.ADD || !okX && !okY {
			return "", false
		}
		if !okX {
			x = "…"
		}
		if !okY {
			y = "…"
		}
		return x + y, true
	case *ast.ParenExpr:
		return textOf(e.X)
	}
	return "", false
}
