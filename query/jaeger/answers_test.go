package jaeger

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestAnswersAre holds whole answers on the shop's spans: each file of testdata has requests, each followed by the status
// and the body of its answer. Cases are separated by an empty line; lines that begin with # are for readers.
func TestAnswersAre(t *testing.T) {
	s := newStore(t)
	s.send("a", shop())
	s.send("b", strangers())
	srv := s.serve("a")
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files of requests, %v", len(files), err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n\n") {
			request, want, _ := strings.Cut(c, "\n----\n")
			request = strings.TrimSuffix(request, "\n----")
			lines := strings.Split(request, "\n")
			method, target, _ := strings.Cut(lines[len(lines)-1], " ")
			a := do(t, srv, method, target, nil)
			got := fmt.Sprintf("%d %s", a.status, strings.TrimSuffix(a.body, "\n"))
			if got != want && !*update {
				t.Errorf("%s: %s\n got %s\nwant %s", path, request, got, want)
			}
			if strings.Contains(a.header+a.body, canary) {
				t.Errorf("%s: %s: canary in %v", path, request, a)
			}
			out = append(out, request+"\n----\n"+got)
		}
		if *update {
			if err := os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
