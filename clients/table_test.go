package clients

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the table of results into docs/clients.md")

// guide is the page that these tests are the proof of.
var guide = filepath.Join("..", "docs", "clients.md")

// line is a line of the table: records, but for retried, which is requests.
type line struct {
	scenario, client                                               string
	sent, acked, rejected, retried, dropped, held, stored, doubled int
}

type table struct {
	mu    sync.Mutex // guards lines
	lines []line
}

var results table

func (t *table) add(l line) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, l)
}

func (t *table) String() string {
	var b strings.Builder
	b.WriteString("| scenario | client | sent | acked | rejected | dropped | held | retried | stored | doubled |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, l := range t.lines {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d | %d | %d | %d | %d |\n", l.scenario, l.client, l.sent, l.acked, l.rejected,
			l.dropped, l.held, l.retried, l.stored, l.doubled)
	}
	return b.String()
}

const tableBegin, tableEnd = "<!-- table: go test -args -update -->\n", "<!-- end of table -->"

func TestMain(m *testing.M) {
	if dir := os.Getenv(queueVariable); dir != "" {
		collectWithQueue(dir)
		return
	}
	flag.Parse()
	code := m.Run()
	fmt.Print(results.String())
	if *update && code == 0 {
		if err := writeTable(results.String()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func writeTable(text string) error {
	page, err := os.ReadFile(guide)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(page, []byte(tableBegin))
	_, after, ends := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ends {
		return fmt.Errorf("%s has no place for the table", guide)
	}
	return os.WriteFile(guide, []byte(string(before)+tableBegin+text+tableEnd+string(after)), 0o644)
}
