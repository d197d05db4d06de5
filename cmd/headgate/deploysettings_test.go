package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings are the flags of headgate's commands, and the environment variables of them.
type settings struct{ flags, variables map[string]bool }

func (s settings) add(cmd *cobra.Command) {
	for _, set := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			s.flags[f.Name], s.variables[environmentName(f.Name)] = true, true
		})
	}
	for _, c := range cmd.Commands() {
		s.add(c)
	}
}

func settingsOf(cmd *cobra.Command) settings {
	s := settings{map[string]bool{"help": true, "version": true}, map[string]bool{}}
	s.add(cmd)
	return s
}

// foreign are flags of other programs, and variables of examples and of the repository's own tools.
var foreign = strings.Fields(`--build --file --profile --rm --user --password --query --ask-password --multiquery --server --from --chown
	--from-file --from-literal --from-env-file --env-file --system --home-dir --shell --now --data-urlencode --service --rate --workers --logs --traces
	--otlp-insecure --otlp-endpoint --otlp-header
	HEADGATE_KEY HEADGATE_BIN HEADGATE_CACHE_DIR HEADGATE_ENGINE_LOCK`)

var (
	variable = regexp.MustCompile(`\bHEADGATE_[A-Z][A-Z0-9_]*`)
	flagName = regexp.MustCompile("(?m)(?:^|[\\s`('\"|\\[])--([a-z][a-z0-9-]*)")
)

// filesBelow returns the files below a directory.
func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestNamedSettingsExist: every flag and variable that files of deploy/ and the pages name is one of headgate's; those that files of
// deploy/ set are serve's.
func TestNamedSettingsExist(t *testing.T) {
	all, serve := settingsOf(newRoot()), settingsOf(newServe())
	named := 0
	for _, path := range append(filesBelow(t, deployDir), append(mustGlob(t, "../../docs/*.md"), "../../README.md")...) {
		text := mustRead(t, path)
		for _, name := range variable.FindAllString(text, -1) {
			if named++; !all.variables[name] && !slices.Contains(foreign, name) && !strings.HasPrefix(name, "HEADGATE_TEST_") {
				t.Errorf("%s: %s is no setting of headgate", path, name)
			}
		}
		for _, m := range flagName.FindAllStringSubmatch(text, -1) {
			if named++; !all.flags[m[1]] && !slices.Contains(foreign, "--"+m[1]) {
				t.Errorf("%s: --%s is no flag of headgate", path, m[1])
			}
		}
		if ext := filepath.Ext(path); strings.HasPrefix(path, deployDir) && (ext == ".yaml" || ext == ".service" || ext == ".example" || filepath.Base(path) == "Dockerfile") {
			for _, name := range variable.FindAllString(text, -1) {
				if !serve.variables[name] && !slices.Contains(foreign, name) {
					t.Errorf("%s: serve does not know %s", path, name)
				}
			}
		}
	}
	if named < 200 {
		t.Errorf("%d settings are named: the pages were not read", named)
	}
}

// TestUnitIsWellFormed: systemd takes the unit as it is, with our binary in place of the installed one, and gives a stop the time that
// it may take.
func TestUnitIsWellFormed(t *testing.T) {
	unit := mustRead(t, filepath.Join(deployDir, "systemd", "headgate.service"))
	wait := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
	if wait == nil {
		t.Fatal("no TimeoutStopSec")
	}
	if s, _ := strconv.Atoi(wait[1]); time.Duration(s)*time.Second < 3*DefaultConfig().ShutdownGrace {
		t.Errorf("a stop gets %s s, and takes twice %s and the engine's end", wait[1], DefaultConfig().ShutdownGrace)
	}
	for _, line := range []string{"KillMode=mixed", "OOMPolicy=continue", "ExecStart=/usr/local/bin/headgate serve", "ProtectSystem=strict", "StateDirectory=headgate"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here to verify the rest")
	}
	path := filepath.Join(t.TempDir(), "headgate.service")
	if err := os.WriteFile(path, []byte(strings.Replace(unit, "ExecStart=/usr/local/bin/headgate", "ExecStart="+os.Args[0], 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", path)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), path) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
