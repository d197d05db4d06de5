package asktest

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

const (
	seedsEnv = "HEADGATE_TEST_ISOLATION"
	askers   = 4   // at a time, as far as -parallel lets them
	tellEach = 500 // seeds
)

// Seeds is how many requests a test generates: what HEADGATE_TEST_ISOLATION says, or n.
func Seeds(t testing.TB, n uint64) uint64 {
	t.Helper()
	s := os.Getenv(seedsEnv)
	if s == "" {
		return n
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number of requests", seedsEnv, s)
	}
	return n
}

// Each calls ask once for every seed below n, several at a time, each with the test of its asker, and logs how far they are. It
// returns when all are done. A seed at which ask ends its test early ends that asker: the others go on.
func Each(t *testing.T, n uint64, ask func(t *testing.T, seed uint64)) {
	t.Helper()
	var next, done atomic.Uint64
	began := time.Now()
	t.Run("askers", func(t *testing.T) {
		for i := range askers {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1) - 1; seed < n; seed = next.Add(1) - 1 {
					ask(t, seed)
					if d := done.Add(1); d%tellEach == 0 {
						t.Logf("%d of %d after %.0f s", d, n, time.Since(began).Seconds())
					}
				}
			})
		}
	})
	if d := done.Load(); d != n && !t.Failed() {
		t.Errorf("%d of %d seeds were asked", d, n)
	}
}
