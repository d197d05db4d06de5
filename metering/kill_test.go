package metering

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// What a child of the kill test is told, and what it bills: every worker has a key of its own and waits for each receipt,
// so at most one receipt per key is in doubt when the child dies.
const (
	childWorkers = 8
	childLimit   = 150_000
)

func TestMain(m *testing.M) {
	dir := os.Getenv(applyChildEnv)
	if dir == "" {
		pgtest.Main(m)
	}
	round, err := strconv.Atoi(os.Getenv(applyChildRound))
	if err == nil {
		err = applyChild(dir, round, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childCharge(w int) Charge {
	return charge("ID-a", fmt.Sprint("k", w), tenant.Refuse, tenant.Unlimited, tenant.Unlimited, limit(tenant.OwnerParent, "ID-p", childLimit, tenant.Refuse))
}

// outcome is what a killed child said of one key.
type outcome struct{ acked, inDoubt int64 }

// killChild starts a child with env, kills it -9 after so many lines, and returns what it said and whether it ended by
// itself first.
func killChild(t *testing.T, lines int, env ...string) (map[string]outcome, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := map[string]outcome{}
	killed := false
	scan := bufio.NewScanner(out)
	for n := 1; scan.Scan(); n++ {
		if n == lines {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		f := strings.Fields(scan.Text())
		if len(f) != 3 {
			continue // cut off by the kill
		}
		bytes, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := said[f[1]]
		if f[0] == "ack" {
			s = outcome{acked: s.acked + bytes}
		} else {
			s.inDoubt = bytes
		}
		said[f[1]] = s
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatalf("child: %v", err)
	}
	return said, !killed
}
