package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/query"
)

func TestTiersAreReadStrictly(t *testing.T) {
	base := query.Limits{MaxExecution: 30 * time.Second, MaxMemoryBytes: 1 << 30}
	read := func(text string) (map[string]query.Limits, error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "tiers.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readTiers(path, base)
	}
	got, err := read(`{"small": {"execution": "5s", "memory": "256MiB", "groups": 1000, "concurrent": 2}, "plain": {}}`)
	want := query.Limits{MaxExecution: 5 * time.Second, MaxMemoryBytes: 256 << 20, MaxGroups: 1000, ConcurrentPerTenant: 2}
	if err != nil || len(got) != 2 || got["small"] != want || got["plain"] != base {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for text, word := range map[string]string{
		`{"x": {"execution": "soon"}}`: `tier x: execution "soon"`, `{"x": {"memory": "much"}}`: `memory "much"`, `{"x": {"speed": 1}}`: "speed",
		`{"x": {"groups": -1}}`: "groups -1", `[]`: "--query-tiers", `{"x": {"wait": "-1s"}}`: `wait "-1s"`,
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
	if got, err := readTiers("", base); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}
