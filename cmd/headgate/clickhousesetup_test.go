package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/storage"
)

var updateDeploy = flag.Bool("update-deploy", false, "rewrite deploy/clickhouse")

var secretRe = regexp.MustCompile(`[0-9a-f]{64,}`)

// TestDeployIsWhatSetupWrites: the files that operators read first are those that clickhouse-setup writes, secrets left out.
func TestDeployIsWhatSetupWrites(t *testing.T) {
	dir := t.TempDir()
	setup := func(out string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args := []string{"clickhouse-setup", "--data-dir", filepath.Join(dir, "data"), "--server", "http://clickhouse:8123", "--out", out}
		if err := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	setup(one)
	setup(two)
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, mode := range map[string]os.FileMode{"config.d/headgate.xml": 0o644, "setup.sql": 0o600, "headgate.env": 0o600, "headgate-query.env": 0o600} {
		text := read(filepath.Join(one, name))
		if again := read(filepath.Join(two, name)); again != text {
			t.Errorf("%s is another at the second run", name)
		}
		if info, err := os.Stat(filepath.Join(one, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, mode)
		}
		shown := secretRe.ReplaceAllString(text, "…")
		deployed := filepath.Join("..", "..", "deploy", "clickhouse", name)
		if name != "config.d/headgate.xml" {
			deployed += ".example"
		}
		if *updateDeploy {
			if err := writeSetup(deployed, shown, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := read(deployed); shown != want {
			t.Errorf("%s differs from what clickhouse-setup writes: run go test ./cmd/headgate -run Deploy -update-deploy", deployed)
		}
	}
	// What it writes is what serve takes.
	if all, reads := read(filepath.Join(one, "headgate.env")), read(filepath.Join(one, "headgate-query.env")); !strings.HasSuffix(all, reads) || strings.Contains(reads, writerAccount) {
		t.Errorf("a reader is told %q", reads)
	}
	for line := range strings.Lines(read(filepath.Join(one, "headgate.env"))) {
		name, raw, _ := strings.Cut(strings.TrimSpace(line), "=")
		opt, err := storage.ParseURL(raw)
		if err != nil || opt.Auth.Database != storage.DefaultDatabase || len(opt.Auth.Password) != 64 {
			t.Errorf("%s: %+v, %v", name, opt, err)
		}
	}
}

// SECURITY: who has the key that signs capabilities cannot make the writer's password of it, unless its setup is one of before.
func TestWritersPasswordIsNotOfThePolicyKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), policyKeyFile)
	made, err := openSetupKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if made.password(writerAccount) == made.policy.Password(writerAccount) {
		t.Error("the writer's password follows from the key of the policies")
	}
	if again, err := openSetupKeys(path); err != nil || again.password(writerAccount) != made.password(writerAccount) || again.password(readerAccount) != made.password(readerAccount) {
		t.Errorf("other passwords at the second run: %v", err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(path), writerKeyFile)); err != nil {
		t.Fatal(err)
	}
	if old, err := openSetupKeys(path); err != nil || old.password(writerAccount) != made.policy.Password(writerAccount) {
		t.Errorf("a setup of before has another password: %v", err)
	}
}

func TestSetupRefusesWhatIsNoServer(t *testing.T) {
	for _, server := range []string{"", "clickhouse:8123", "http://u:p@clickhouse:8123", "http://clickhouse:8123/db", "tcp://clickhouse:9000"} {
		var out bytes.Buffer
		args := []string{"clickhouse-setup", "--data-dir", t.TempDir(), "--out", t.TempDir(), "--server", server}
		if err := run(t.Context(), args, strings.NewReader(""), &out, &out); err == nil {
			t.Errorf("--server %q passed", server)
		}
	}
}
