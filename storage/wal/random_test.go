package wal

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// TestRandomCrashes runs logs of random options through random lives: appends of all sizes, checkpoints, restarts,
// failing operations, full disks, background work at once or late, crashes anywhere, losses of all kinds. It runs for
// the time in HEADGATE_WAL_CRASH if that is set, with HEADGATE_WAL_SEED as the first seed.
func TestRandomCrashes(t *testing.T) {
	lives, seed, runs := 0, uint64(1), 150
	if brief {
		runs = 30
	}
	deadline := time.Time{}
	if v := os.Getenv(longEnv); v != "" {
		d, err := time.ParseDuration(v)
		mustRun(t, err)
		deadline, runs = time.Now().Add(d), 1<<40
		seed = uint64(time.Now().UnixNano())
		if v := os.Getenv("HEADGATE_WAL_SEED"); v != "" {
			_, err := fmt.Sscan(v, &seed)
			mustRun(t, err)
		}
	}
	n := 0
	for ; n < runs && (deadline.IsZero() || time.Now().Before(deadline)); n++ {
		lived, err := randomLives(rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatalf("HEADGATE_WAL_SEED=%d: %v", seed, err)
		}
		lives += lived
		seed++
	}
	t.Logf("%d logs, %d lives", n, lives)
}

func randomLives(rnd *rand.Rand) (int, error) {
	opt := Options{SegmentBytes: int64(4+rnd.IntN(8)) * pageBytes, ReserveBytes: -1}
	opt.MaxBytes = opt.SegmentBytes * int64(2+rnd.IntN(6))
	fsys, m := faultfs.NewMem(), newModel()
	lives := 2 + rnd.IntN(6)
	for life := range lives {
		if rnd.IntN(3) == 0 {
			fsys.SetCapacity(opt.MaxBytes/2 + int64(rnd.IntN(1<<16)))
		} else {
			fsys.SetCapacity(1 << 40)
		}
		if err := randomLife(rnd, fsys, m, opt); err != nil {
			return life, fmt.Errorf("life %d: %w", life, err)
		}
		loss := faultfs.Loss(rnd.IntN(int(faultfs.Losses)))
		fsys = fsys.Crash(loss, rnd.Uint64())
		// What the disk kept of a group that it refused may come back if nothing followed; the model knows.
	}
	fsys.SetCapacity(1 << 40)
	return lives, survive(fsys, m)
}

func randomLife(rnd *rand.Rand, fsys *faultfs.Mem, m *model, opt Options) error {
	l, err := memLog(fsys, &jobs{}, opt)
	if err != nil {
		return err
	}
	j := &jobs{later: rnd.IntN(2) == 0}
	l.spawn = j.spawn
	if err := m.check(l); err != nil {
		return err
	}
	if err := m.trust(l); err != nil {
		return err
	}
	fsys.StopAt(1+rnd.IntN(120), rnd.IntN(9000))
	fail := rnd.IntN(12) // of a hundred operations; more than half of the lives have none
	fsys.SetFault(func(op faultfs.Op) error {
		switch {
		case fail > 4 || rnd.IntN(100) >= fail:
			return nil
		case rnd.IntN(2) == 0:
			return syscall.ENOSPC
		}
		return syscall.EIO
	})
	for range 60 {
		if fsys.Crashed() {
			return nil
		}
		op := rnd.IntN(12)
		if op != 3 {
			j.run() // of two seals the second waits for the first
		}
		switch op {
		case 0:
			_ = m.deleteBefore(l, rnd.IntN(len(m.acked)+1))
		case 1:
			if rnd.IntN(4) == 0 {
				_ = m.deleteBefore(l, -1)
			}
		case 3:
			if err := m.check(l); err != nil && !fsys.Crashed() {
				return fmt.Errorf("while it runs: %w", err)
			}
		default:
			var es [][]byte
			large := false
			for range 1 + rnd.IntN(5) {
				e := newEntry(m, rnd.IntN(200))
				if rnd.IntN(6) == 0 {
					large = true
					e = newEntry(m, rnd.IntN(int(l.opt.MaxEntryBytes)))
				}
				m.sent[string(e)] = true
				es = append(es, e)
			}
			later := j.later
			j.later = later && !large // there may be two in one group
			_ = m.appendGroup(l, es...)
			j.later = later
		}
	}
	if rnd.IntN(2) == 0 {
		j.later = false
		j.run()
		_ = l.Close()
	}
	return nil
}
