package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/storage/policy"
)

// examined runs doctor with --json on a data directory and returns its findings by check.
func examined(t *testing.T, dir string, args ...string) (map[string]policy.Finding, error) {
	t.Helper()
	var out, errText bytes.Buffer
	err := run(t.Context(), append([]string{"doctor", "--json", "--data-dir", dir}, args...), strings.NewReader(""), &out, &errText)
	byCheck := map[string]policy.Finding{}
	for _, f := range unmarshal[[]policy.Finding](t, out.String()) {
		byCheck[f.Check] = f
		if f.Status != policy.OK && f.Status != policy.Warn && f.Advice == "" {
			t.Errorf("%s fails without advice", f.Check)
		}
	}
	return byCheck, err
}

func TestDoctorFindsARunningHeadgateWell(t *testing.T) {
	p := serveOn(t, filepath.Join(t.TempDir(), "data")) // as headgate makes it
	found, err := examined(t, p.dir)
	if err != nil {
		t.Errorf("doctor: %v", err)
	}
	for _, check := range []string{"data directory", "secrets", "log", "state", "engine library", "headgate", "version", "policies", "capability", "reader", "clock"} {
		if f := found[check]; f.Status != policy.OK {
			t.Errorf("%s: %s %s", check, f.Status, f.Detail)
		}
	}
	if text, _, err := p.try("doctor"); err != nil || !strings.Contains(text, "STATUS") || !strings.Contains(text, "policies") {
		t.Errorf("doctor printed %s, %v", text, err)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{stateFile: "no database at all, whatever its name", "key.pepper": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, err := examined(t, dir, "--log-reserve", "8191PiB", "--clickhouse", "http://u:p@127.0.0.1:1/db")
	if err == nil {
		t.Error("doctor ended with status 0")
	}
	for check, want := range map[string]policy.Status{
		"data directory": policy.Warn, "secrets": policy.Fail, "disk": policy.Fail, "state": policy.Fail, "headgate": policy.Warn, "reader": policy.Fail,
	} {
		if f := found[check]; f.Status != want {
			t.Errorf("%s: %q %s, want %s", check, f.Status, f.Detail, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, stateFile)); err != nil || string(b) != "no database at all, whatever its name" {
		t.Errorf("doctor changed the state database: %q, %v", b, err)
	}
	if found, err := examined(t, filepath.Join(dir, "nothing")); err != nil || found["state"].Status != policy.Warn {
		t.Errorf("before the first start: %v, %v, want warnings alone", found, err)
	}
}
