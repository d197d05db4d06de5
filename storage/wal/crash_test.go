package wal

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/race"
)

// The loops over every operation and byte are thinned out under the race detector and with -short, and complete with
// HEADGATE_WAL_CRASH set, see TestRandomCrashes.
var (
	long  = os.Getenv(longEnv) != ""
	brief bool
)

const longEnv = "HEADGATE_WAL_CRASH"

// TestMain lets the heap grow, within reason: the loops make and drop many small file systems.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, runChild(dir))
		os.Exit(1)
	}
	flag.Parse()
	brief = !long && (race.Enabled || testing.Short())
	debug.SetGCPercent(1000)
	debug.SetMemoryLimit(200 << 20)
	m.Run()
}

// workload runs a log through everything that writes: its making, groups of one and of many, entries over several
// pages, rotation, sealing, preparing, checkpoints, an ordered stop, recovery. It goes on after failures until the
// machine stops.
func workload(fsys *faultfs.Mem, m *model, later bool) error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	for life := range 2 {
		j := &jobs{later: later}
		l, err := memLog(fsys, j, tiny())
		if err != nil {
			note(err)
			continue
		}
		group := func(sizes ...int) {
			var es [][]byte
			for _, n := range sizes {
				es = append(es, newEntry(m, n+len(es)))
				m.sent[string(es[len(es)-1])] = true
			}
			note(m.appendGroup(l, es...))
			j.run()
		}
		group(100)
		group(40, 0, 77)
		group(5000)
		group(30, 31, 32, 33)
		note(m.deleteBefore(l, len(m.acked)-1))
		j.run()
		group(200)
		group(9000, 20)
		group(50)
		note(m.deleteBefore(l, len(m.acked)/2))
		if life == 0 {
			group(60)
			group(70)
			note(m.deleteBefore(l, -1))
			j.run()
			group(80)
			group(90, 4000)
			j.later = false
			note(l.Close())
		}
	}
	return errors.Join(errs...)
}

// trace returns the operations of a whole workload.
func trace(t *testing.T, later bool) []faultfs.Op {
	t.Helper()
	fsys, m := faultfs.NewMem(), newModel()
	var ops []faultfs.Op
	fsys.SetFault(func(op faultfs.Op) error { ops = append(ops, op); return nil })
	mustRun(t, workload(fsys, m, later))
	kinds := map[string]int{}
	for _, op := range ops {
		kinds[op.Kind]++
	}
	for _, k := range []string{"create", "write", "sync", "truncate", "preallocate", "rename", "remove", "mkdir", "syncdir"} {
		if kinds[k] == 0 {
			t.Fatalf("the workload has no %s: %v", k, kinds)
		}
	}
	return ops
}

// stopped runs the workload until its n-th operation, of which tear happens.
func stopped(n, tear int, later bool) (*faultfs.Mem, *model) {
	fsys, m := faultfs.NewMem(), newModel()
	fsys.StopAt(n, tear)
	_ = workload(fsys, m, later)
	return fsys, m
}

func eachOrder(t *testing.T, test func(t *testing.T, later bool)) {
	for _, later := range []bool{false, true} {
		if later && brief {
			continue
		}
		t.Run(map[bool]string{false: "background at once", true: "background late"}[later], func(t *testing.T) {
			t.Parallel()
			test(t, later)
		})
	}
}

// TestAckedEntriesSurviveACrashAtEveryOperation cuts before and after each operation and loses what was not synced in
// every way.
func TestAckedEntriesSurviveACrashAtEveryOperation(t *testing.T) {
	eachOrder(t, func(t *testing.T, later bool) {
		runs := 0
		for i, op := range trace(t, later) {
			if brief && i%4 != 0 {
				continue
			}
			for _, tear := range []int{0, 1 << 30} {
				fsys, m := stopped(i+1, tear, later)
				for loss := range faultfs.Losses {
					for seed := range seeds(loss) {
						runs++
						if err := survive(fsys.Crash(loss, seed), m); err != nil {
							t.Fatalf("%v, tear %d, loss %d, seed %d: %v", op, tear, loss, seed, err)
						}
					}
				}
			}
		}
		t.Logf("%d crashes", runs)
	})
}

// seeds returns how many different outcomes of a loss to try.
func seeds(loss faultfs.Loss) uint64 {
	switch {
	case loss <= faultfs.KeepAll:
		return 1
	case brief:
		return 1
	case long:
		return 20
	}
	return 2
}

// TestAckedEntriesSurviveATearAtEveryByte cuts each write at each byte of its frames.
func TestAckedEntriesSurviveATearAtEveryByte(t *testing.T) {
	eachOrder(t, func(t *testing.T, later bool) {
		runs := 0
		for i, op := range trace(t, later) {
			if op.Kind != "write" {
				continue
			}
			if later && i%8 != 0 && !long || brief && i%3 != 0 {
				continue
			}
			fsys, m := stopped(i+1, 0, later)
			for tear := int64(0); tear <= op.Len; tear += stride(tear) {
				runs++
				if err := survive(fsys.CrashTorn(tear, faultfs.KeepAll, 0), m); err != nil {
					t.Fatalf("%v torn at %d: %v", op, tear, err)
				}
			}
		}
		t.Logf("%d tears", runs)
	})
}

// stride is 1 where the workload's frames are, and wide in long payloads and in padding.
func stride(at int64) int64 {
	switch {
	case brief:
		return 127
	case at < 180 || at >= 5000 && at < 5100 || long && at < 600:
		return 1
	case at < 400:
		return 3
	}
	return 103
}

// TestRecoverySurvivesACrashAtEveryOperation stops the recovery after a crash, at each of its operations.
func TestRecoverySurvivesACrashAtEveryOperation(t *testing.T) {
	eachOrder(t, func(t *testing.T, later bool) {
		runs := 0
		step := map[bool]int{false: 3, true: 6}[later]
		if brief {
			step *= 17
		} else if long {
			step = 1
		}
		for i, op := range trace(t, later) {
			fsys, m := stopped(i+1, 70, later)
			for loss := range faultfs.Losses {
				if (i+int(loss))%step != 0 {
					continue
				}
				for n := 1; ; n++ {
					again := fsys.Crash(loss, uint64(i))
					again.StopAt(n, n%2*2000)
					l, err := memLog(again, &jobs{}, tiny())
					if err == nil && !again.Crashed() {
						if err := m.check(l); err != nil {
							t.Fatal(err)
						}
						break
					}
					for loss2 := range faultfs.Losses {
						if loss2 > faultfs.KeepAll && (n+int(loss2))%3 != 0 && !long {
							continue
						}
						runs++
						if err := survive(again.Crash(loss2, uint64(n)), m); err != nil {
							t.Fatalf("%v, loss %d, then recovery stopped at %d, loss %d: %v", op, loss, n, loss2, err)
						}
					}
				}
			}
		}
		t.Logf("%d crashes of recoveries", runs)
	})
}

// TestFailedOperationsLoseNothing makes each operation fail once, done or not. What was refused must not appear, what follows must
// succeed, and a crash must lose nothing.
func TestFailedOperationsLoseNothing(t *testing.T) {
	eachOrder(t, func(t *testing.T, later bool) {
		for i, op := range trace(t, later) {
			for c, cause := range []error{syscall.EIO, syscall.ENOSPC, faultfs.Done(syscall.EIO)} {
				if brief && (i+c)%5 != 0 {
					continue
				}
				fsys, m := faultfs.NewMem(), newModel()
				fsys.SetFault(func(now faultfs.Op) error {
					if now.N == i+1 {
						return cause
					}
					return nil
				})
				err := workload(fsys, m, later)
				if err := errAllowed(err, cause); err != nil {
					t.Fatalf("%v with %v: %v", op, cause, err)
				}
				fsys.SetFault(nil)
				for e := range m.failed {
					m.failed[e] = -1 // must not appear, whatever followed
				}
				for loss := range faultfs.Losses {
					if (int(loss)+i+c)%2 == 0 && !long {
						continue
					}
					if err := survive(fsys.Crash(loss, uint64(i)), m); err != nil {
						t.Fatalf("%v with %v, loss %d: %v", op, cause, loss, err)
					}
				}
			}
		}
	})
}

// errAllowed checks that everything the log said is an error of this package with its cause.
func errAllowed(err error, cause error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, cause) {
		return fmt.Errorf("the cause is not in the error: %w", err)
	}
	return nil
}

// TestFailureThenCrashLosesNothing makes each operation fail and the machine stop at a later one.
func TestFailureThenCrashLosesNothing(t *testing.T) {
	eachOrder(t, func(t *testing.T, later bool) {
		ops, runs := trace(t, later), 0
		step := 13
		if brief {
			step = 37
		} else if long {
			step = 1
		}
		for i := range ops {
			for stop := i + 2; stop < min(i+40, len(ops)); stop += step {
				fsys, m := faultfs.NewMem(), newModel()
				fsys.SetFault(func(now faultfs.Op) error {
					if now.N == i+1 {
						return syscall.EIO
					}
					return nil
				})
				fsys.StopAt(stop, stop%3*1500)
				_ = workload(fsys, m, later)
				for loss := range faultfs.Losses {
					runs++
					if err := survive(fsys.Crash(loss, uint64(stop)), m); err != nil {
						t.Fatalf("%v failed, stop at %d, loss %d: %v", ops[i], stop, loss, err)
					}
				}
			}
		}
		t.Logf("%d crashes", runs)
	})
}
