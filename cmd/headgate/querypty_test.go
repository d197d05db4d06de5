package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal with a process on it.
type terminal struct {
	*testing.T
	ptm *os.File
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer // guarded by mu
}

// onTerminal starts headgate on a terminal of eighty columns.
func onTerminal(t *testing.T, env []string, args ...string) *terminal {
	t.Helper()
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = ptm.Close() })
	fd := int(ptm.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatalf("pseudo-terminal: %v", err)
	}
	pts, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pts.Close()
	x := &terminal{T: t, ptm: ptm, cmd: command(args...)}
	x.cmd.Env = append(append(x.cmd.Env, "TERM=xterm", "LC_ALL=C.UTF-8"), env...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = pts, pts, pts
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.cmd.Process.Kill() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := ptm.Read(buf)
			x.mu.Lock()
			x.out.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return x
}

func (x *terminal) send(text string) {
	x.Helper()
	if _, err := x.ptm.WriteString(text); err != nil {
		x.Fatal(err)
	}
}

// expect waits for text on the screen and forgets what stands up to it.
func (x *terminal) expect(text string) {
	x.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		x.mu.Lock()
		screen := x.out.String()
		i := strings.Index(screen, text)
		if i >= 0 {
			x.out.Next(i + len(text))
		}
		x.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(deadline) {
			x.Fatalf("no %q on the screen:\n%q", text, screen)
		}
	}
}

// TestQueriesOnATerminal: editing, completion, an answer, a query that Ctrl-C stops while the shell goes on, and a history
// that the next shell has.
func TestQueriesOnATerminal(t *testing.T) {
	c, state := echo(t), t.TempDir()
	env := []string{"XDG_STATE_HOME=" + state}
	args := []string{"query", "--key", "k", "--api-url", c.base}
	x := onTerminal(t, env, args...)
	x.expect("oql> ")
	x.send("spa\t | cou\t\r")
	x.expect("spans | count")
	x.expect("query")
	x.expect("oql> ")
	x.send("logs | slow\r")
	x.expect("Ctrl-C stops the query")
	x.send("\x03")
	x.expect("stopped")
	x.expect("oql> ")
	x.send("\\q\r")
	if err := x.cmd.Wait(); err != nil {
		t.Errorf("shell ended with %v", err)
	}
	b, err := os.ReadFile(filepath.Join(state, "headgate", "query_history"))
	if err != nil || !strings.Contains(string(b), "spans | count\n") {
		t.Errorf("history %q, %v", b, err)
	}
	again := onTerminal(t, env, args...)
	again.expect("oql> ")
	again.send("\x1b[A\x1b[A\x1b[A\r") // up, three times
	again.expect("spans | count")
	again.expect("oql> ")
	if err := again.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := again.cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("after SIGTERM: %v", err)
	}
}
