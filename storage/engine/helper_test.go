package engine_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

func readProc(pid int, file string) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	return string(b), err
}

// residentBytes is the memory of a process, now (VmRSS) or at its highest (VmHWM).
func residentBytes(t testing.TB, pid int, field string) int64 {
	t.Helper()
	status, err := readProc(pid, "status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("no %s in %s", field, status)
	return 0
}
