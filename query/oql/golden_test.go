package oql

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestErrorsPointAndAdvise holds every error of the language: testdata/errors.txt has queries, each followed by the
// position, message and caret that they get. Queries are separated from answers by a line of dashes, cases by an empty line.
func TestErrorsPointAndAdvise(t *testing.T) {
	const path = "testdata/errors.txt"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n\n") {
		query, want, _ := strings.Cut(c, "\n----\n")
		query = strings.TrimSuffix(query, "\n----")
		_, err := Parse(query)
		var e *Error
		got := "parses"
		if errors.As(err, &e) {
			got = e.Error() + "\n" + e.Caret()
		}
		if got != want && !*update {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
		out = append(out, query+"\n----\n"+got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
