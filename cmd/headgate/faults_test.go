package main

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/timetest"
)

// badDiskVar makes the log's disk of a headgate process slow or failing.
const badDiskVar = "HEADGATE_TEST_DISK"

func badDisk(kind string) faultfs.FS {
	if kind == "" {
		return nil
	}
	var syncs atomic.Int64
	return faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		switch n := syncs.Add(1); {
		case n < 50: // a start that cannot sync what it recovers ends, as it should
		case kind == "slow":
			<-time.After(rand.N(100 * time.Millisecond))
		case rand.IntN(20) == 0:
			return syscall.EIO
		}
		return nil
	}}
}

// The disk answers late, or now and then not at all; headgate is killed meanwhile.
func TestKillsOnABadDisk(t *testing.T) {
	for _, kind := range []string{"slow", "failing"} {
		t.Run(kind, func(t *testing.T) {
			t.Setenv(badDiskVar, kind)
			d := newLoad(t, loadOptions{})
			for range 3 {
				d.acks(100)
				d.restart()
			}
			d.acks(100)
			d.finish()
			t.Logf("%d requests acked, %d sends without an ack", d.acked.Load(), d.unacked.Load())
		})
	}
}

// ClickHouse hangs, refuses, answers late, answers nonsense, and commits while its answer is lost; headgate is killed
// meanwhile.
func TestKillsBesideABadServer(t *testing.T) {
	e, _, args := guardedServer(t)
	proxy := chtest.StartProxy(t, e.Addr())
	d := newLoad(t, loadOptions{args: append(through(proxy.Addr(), e, args), "--insert-timeout", "1s")})
	faults := []chtest.Fault{chtest.Refuse, chtest.CutBody, chtest.LoseAnswer, chtest.Late, chtest.Hang, chtest.Overloaded, chtest.Broken}
	var done [16]atomic.Int64
	bad := func(r *http.Request) chtest.Fault {
		fault := chtest.Pass
		if chtest.IsInsert(r) && rand.IntN(2) == 0 {
			fault = faults[rand.IntN(len(faults))]
		} else if rand.IntN(10) == 0 {
			fault = chtest.Refuse
		}
		done[fault].Add(1)
		return fault
	}
	for range 4 {
		proxy.Choose(bad)
		d.acks(1500)
		proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass }) // a start must find the server
		d.restart()
	}
	d.finish()
	for _, f := range append(faults, chtest.Pass) {
		t.Logf("fault %d: %d times", f, done[f].Load())
	}
	t.Logf("%d requests acked, %d sends without an ack", d.acked.Load(), d.unacked.Load())
}

// The engine stops in the middle of whatever it does, for longer than an INSERT may take, and goes on.
func TestKillsBesideAHangingEngine(t *testing.T) {
	d := newLoad(t, loadOptions{args: []string{"--insert-timeout", "1s"}})
	for range 3 {
		d.acks(100)
		d.signalEngine(syscall.SIGSTOP)
		d.acks(300)
		d.signalEngine(syscall.SIGCONT)
	}
	d.acks(100)
	d.finish()
}

// The log's disk is filled by somebody else, and freed again; ClickHouse is away meanwhile.
func TestKillsOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	wal := filepath.Join(dir, walDir)
	if err := os.Mkdir(wal, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", wal, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("no small disk to fill: mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(wal, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d := newLoad(t, loadOptions{dir: dir, pad: 64 << 10, args: []string{"--max-body", "2MiB", "--log-reserve", "24MiB", "--insert-timeout", "2s"}})
	for round := range 3 {
		d.acks(50)
		d.signalEngine(syscall.SIGSTOP)
		filler := filepath.Join(wal, "somebody-elses")
		if round == 1 { // once at a stroke, otherwise by the log itself
			fill(t, filler)
		}
		from := d.unacked.Load()
		timetest.Eventually(t, "refusals", func() bool { return d.unacked.Load() > from+5 })
		if round == 2 {
			d.signalEngine(syscall.SIGCONT)
			d.restart()
		}
		if err := removeIfThere(filler); err != nil {
			t.Fatal(err)
		}
		d.signalEngine(syscall.SIGCONT)
	}
	d.acks(50)
	d.finish()
	t.Logf("%d requests acked, %d sends without an ack", d.acked.Load(), d.unacked.Load())
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(block)
	}
}
