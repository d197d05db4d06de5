package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the tours of pages in docs print anew")

// changing is what two runs print differently: ids, secrets, hashes, partitions, times, and how much the audit has.
var changing = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b|\bhg_[\w…-]+|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}…|\bshared-\d\d\b|` +
	`\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?Z?|\b\d+h\d+m\d+s\b|\b\d+ entries|\banchor \d+`)

// shortened is what a reader needs of the secrets and hashes that a command prints.
func shortened(text string) string {
	text = regexp.MustCompile(`\bhg_[\w-]+`).ReplaceAllString(text, "hg_…")
	return regexp.MustCompile(`\b([0-9a-f]{8})[0-9a-f]{56}\b`).ReplaceAllString(text, "$1…")
}

// masked hides what changes. Blanks are folded, for what is hidden may be as wide as it likes.
func masked(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		out = append(out, strings.Join(strings.Fields(changing.ReplaceAllString(line, "·")), " "))
	}
	return strings.Join(out, "\n")
}

// shell is a shell in which "headgate" is this binary.
type shell struct {
	t    *testing.T
	in   *bufio.Writer
	out  *bufio.Reader
	next int
}

func openShell(t *testing.T, dir string) *shell {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asHeadgate, self)
	if err := os.WriteFile(filepath.Join(bin, "headgate"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8", clockVar + "=" + os.Getenv(clockVar)}
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A command that hangs ends with the shell, which the test would otherwise wait for.
	watch := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		watch.Stop()
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &shell{t: t, in: bufio.NewWriter(in), out: bufio.NewReader(out)}
}

// run runs a command and returns what it prints.
func (s *shell) run(command string) string {
	s.t.Helper()
	s.next++
	mark := fmt.Sprintf("(end of %d)", s.next)
	fmt.Fprintf(s.in, "%s\necho \"%s\"\n", command, mark)
	if err := s.in.Flush(); err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	var out strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", command, err, out.String())
		}
		if text, _, ok := strings.Cut(line, mark); ok {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(line)
	}
}

// The tour of docs/administration.md is what happens: its commands are run by a shell, on a server that has just been set up, and
// print what it shows, apart from ids, secrets and times.
func TestTourOfTheAdministrationIsWhatHappens(t *testing.T) {
	dir := t.TempDir()
	serveOn(t, filepath.Join(dir, "data"))
	if commands := openShell(t, dir).tour("../../docs/administration.md"); commands < 20 {
		t.Errorf("the tour has %d commands only", commands)
	}
}

// tour runs the commands of a page's tour and returns how many there are.
func (s *shell) tour(path string) (commands int) {
	t := s.t
	t.Helper()
	const begin, end = "<!-- tour: begin -->\n", "<!-- tour: end -->"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	tour, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no tour", path)
	}
	var anew strings.Builder
	for i, block := range strings.Split(tour, "```console\n") {
		if i == 0 {
			anew.WriteString(block)
			continue
		}
		session, text, ok := strings.Cut(block, "```\n")
		if !ok {
			t.Fatalf("a block of the tour does not end:\n%s", block)
		}
		anew.WriteString("```console\n")
		for _, step := range strings.Split("\n"+session, "\n$ ")[1:] {
			lines := strings.SplitAfter(step, "\n")
			n := 1
			for n < len(lines) && strings.HasSuffix(lines[n-1], "\\\n") {
				n++
			}
			command, want := strings.TrimSuffix(strings.Join(lines[:n], ""), "\n"), strings.Join(lines[n:], "")
			got := s.run(command)
			commands++
			if got != "" && !strings.HasSuffix(got, "\n") {
				got += "\n"
			}
			anew.WriteString("$ " + command + "\n" + trimmed(shortened(got)))
			if !*update && strings.TrimSpace(masked(got)) != strings.TrimSpace(masked(want)) {
				t.Errorf("$ %s\nprints\n%s\nand the tour shows\n%s\n(after a look at why: go test ./cmd/headgate -run Tour -update)", command, got, want)
			}
		}
		anew.WriteString("```\n" + text)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+anew.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return commands
}

// trimmed is text without blanks at the ends of lines.
func trimmed(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}
