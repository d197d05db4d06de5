package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// failing returns a fault that hits operations of the given kinds while on is set.
func failing(on *atomic.Bool, err error, kinds ...string) func(faultfs.Op) error {
	return func(op faultfs.Op) error {
		for _, k := range kinds {
			if on.Load() && op.Kind == k {
				return err
			}
		}
		return nil
	}
}

// TestLogWorksAgainWhenTheDiskDoes lets the disk refuse different things for a while.
func TestLogWorksAgainWhenTheDiskDoes(t *testing.T) {
	for name, kinds := range map[string][]string{
		"writes":      {"write"},
		"syncs":       {"sync"},
		"new files":   {"create"},
		"directories": {"syncdir"},
		"space":       {"preallocate", "write"},
		"everything":  {"create", "write", "sync", "truncate", "preallocate", "rename", "remove", "syncdir"},
	} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s/%v", name, cause), func(t *testing.T) {
				fsys, m := faultfs.NewMem(), newModel()
				l, err := memLog(fsys, &jobs{}, tiny())
				mustRun(t, err)
				mustRun(t, m.appendGroup(l, newEntry(m, 50)))
				var on atomic.Bool
				on.Store(true)
				fsys.SetFault(failing(&on, cause, kinds...))
				want := ErrFailed
				if cause == syscall.ENOSPC {
					want = ErrFull
				}
				refused := 0
				for range 20 {
					if err := m.appendGroup(l, newEntry(m, 50)); err != nil {
						if refused++; !errors.Is(err, want) || !errors.Is(err, cause) {
							t.Fatalf("Append: %v, want %v with its cause", err, want)
						}
					}
				}
				if refused == 0 {
					t.Error("nothing was refused")
				}
				if st := l.Stats(); st.LastError == nil {
					t.Error("Stats has no error")
				}
				on.Store(false)
				for range 5 {
					mustRun(t, m.appendGroup(l, newEntry(m, 50), newEntry(m, 60)))
				}
				mustRun(t, m.check(l))
				names := segmentsOf(t, fsys)
				if len(names) > 30 {
					t.Errorf("%d files are left of the failures", len(names))
				}
				for loss := range faultfs.Losses {
					if err := survive(fsys.Crash(loss, 1), m); err != nil {
						t.Fatalf("loss %d: %v", loss, err)
					}
				}
			})
		}
	}
}

// TestRefusedEntriesNeverOutliveLaterOnes has the disk keep a group although it said that it could not sync it. To
// cut it off, the seal over it, and the mark in the next segment where the log had ended are each enough alone.
func TestRefusedEntriesNeverOutliveLaterOnes(t *testing.T) {
	for name, broken := range map[string][]string{
		"nothing else fails":     nil,
		"no cut, no seal":        {"sync", "truncate", "write"},
		"no cut":                 {"truncate"},
		"the cut is not durable": {"sync"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, m := faultfs.NewMem(), newModel()
			l, err := memLog(fsys, &jobs{}, tiny())
			mustRun(t, err)
			mustRun(t, m.appendGroup(l, newEntry(m, 50)))
			refused, file := false, ""
			fsys.SetFault(func(op faultfs.Op) error {
				switch {
				case !refused && op.Kind == "sync":
					refused, file = true, op.Name
					return faultfs.Done(syscall.EIO)
				case refused && op.Name == file && slices.Contains(broken, op.Kind):
					return syscall.EIO
				}
				return nil
			})
			if err := m.appendGroup(l, newEntry(m, 50), newEntry(m, 5000)); !errors.Is(err, ErrFailed) {
				t.Fatalf("Append: %v, want ErrFailed", err)
			}
			mustRun(t, m.appendGroup(l, newEntry(m, 50)))
			for loss := range faultfs.Losses {
				if err := survive(fsys.Crash(loss, 1), m); err != nil {
					t.Errorf("loss %d: %v", loss, err)
				}
			}
		})
	}
}

// TestFullDiskIsLeftAlone appends until the budget, the reserve or the disk ends it, deletes, and goes on, on a real
// file system if this process may mount one.
func TestFullDiskIsLeftAlone(t *testing.T) {
	run := func(t *testing.T, dir string, opt Options, free func() int64) {
		opt.SegmentBytes = 256 << 10
		l := open(t, dir, opt)
		var want []record
		for round := range 3 {
			full := 0
			for i := 0; full < 5; i++ {
				data := payload(uint64(round*10000+i), 30000)
				p, err := l.Append(data)
				switch {
				case errors.Is(err, ErrFull):
					full++
				case err != nil:
					t.Fatalf("Append on a full disk: %v, want ErrFull", err)
				default:
					want = append(want, record{p, data})
				}
				if st := l.Stats(); st.Bytes > st.MaxBytes {
					t.Fatalf("%d bytes on disk, budget %d", st.Bytes, st.MaxBytes)
				}
				if i > 10000 {
					t.Fatal("the disk is never full")
				}
			}
			if free != nil && free() < opt.ReserveBytes {
				t.Errorf("%d bytes free, reserve %d", free(), opt.ReserveBytes)
			}
			closeLog(t, l)
			l = open(t, dir, opt) // also when there is no space
			checkRecords(t, scanAll(t, l), want)
			if err := l.DeleteBefore(want[len(want)-1].pos); err != nil {
				t.Fatalf("DeleteBefore on a full disk: %v", err)
			}
			for len(want) > 0 && want[0].pos.Segment() < want[len(want)-1].pos.Segment() {
				want = want[1:]
			}
			checkRecords(t, scanAll(t, l), want)
		}
		closeLog(t, l)
	}
	t.Run("memory", func(t *testing.T) {
		for _, reserve := range []int64{-1, 1 << 20} {
			fsys := faultfs.NewMem()
			fsys.SetCapacity(4 << 20)
			run(t, "/log", Options{FS: fsys, ReserveBytes: reserve}, func() int64 { n, _ := fsys.Free("/"); return n })
		}
	})
	t.Run("budget", func(t *testing.T) {
		run(t, t.TempDir(), Options{MaxBytes: 2 << 20, ReserveBytes: -1}, nil)
	})
	t.Run("tmpfs", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Skipf("cannot mount a small file system: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		for i, reserve := range []int64{-1, 1 << 20} {
			sub := fmt.Sprintf("%s/%d", dir, i)
			run(t, sub, Options{ReserveBytes: reserve}, func() int64 { n, _ := faultfs.OS{}.Free(dir); return n })
			if err := os.RemoveAll(sub); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestCheckpointMakesRoomOnAFullDisk fills the disk with something else, so that not even the checkpoint can be
// written, while the log has finished segments to give back.
func TestCheckpointMakesRoomOnAFullDisk(t *testing.T) {
	const large = 1 << 30
	fsys, m := faultfs.NewMem(), newModel()
	l, err := memLog(fsys, &jobs{}, tiny())
	mustRun(t, err)
	for range 8 {
		mustRun(t, m.appendGroup(l, newEntry(m, 50)))
	}
	if l.next == nil {
		t.Fatal("no segment is prepared")
	}
	fsys.SetCapacity(large)
	free, err := fsys.Free("/")
	mustRun(t, err)
	fsys.SetCapacity(large - free)
	if err := m.deleteBefore(l, len(m.acked)-1); err != nil {
		t.Fatalf("DeleteBefore on a full disk: %v", err)
	}
	for range 8 {
		mustRun(t, m.appendGroup(l, newEntry(m, 50)))
	}
	mustRun(t, m.check(l))
}

// TestSlowSyncGathersAGroup holds one sync until others wait, and expects them to share the next one.
func TestSlowSyncGathersAGroup(t *testing.T) {
	fsys := faultfs.NewMem()
	var mu sync.Mutex
	var groups []int
	opt := Options{FS: fsys, ReserveBytes: -1, OnSync: func(_ time.Duration, entries int, _ int64, err error) {
		mu.Lock()
		groups = append(groups, entries)
		mu.Unlock()
	}}
	l := open(t, "/log", opt)
	hold, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fsys.SetFault(func(op faultfs.Op) error {
		if op.Kind == "sync" {
			once.Do(func() { close(held); <-hold })
		}
		return nil
	})
	const late = 100
	var wg sync.WaitGroup
	send := func(i int) {
		if _, err := l.Append(fmt.Append(nil, i)); err != nil {
			t.Errorf("Append: %v", err)
		}
	}
	wg.Go(func() { send(-1) })
	<-held
	for i := range late {
		wg.Go(func() { send(i) })
	}
	for deadline := time.Now().Add(time.Minute); ; {
		l.mu.Lock()
		n := len(l.queue)
		l.mu.Unlock()
		if n == late {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d entries wait", n, late)
		}
		runtime.Gosched()
	}
	close(hold)
	wg.Wait()
	if fmt.Sprint(groups) != fmt.Sprint([]int{1, late}) {
		t.Errorf("groups of %v, want 1 and %d", groups, late)
	}
	closeLog(t, l)
}

// TestReadersAndDeletionGoTogether appends, reads, scans, finishes and looks at a log at the same time.
func TestReadersAndDeletionGoTogether(t *testing.T) {
	l := open(t, t.TempDir(), Options{SegmentBytes: 64 << 10, MaxBytes: 8 << 20, ReserveBytes: -1})
	defer closeLog(t, l)
	const senders, each = 4, 150
	entries := make(chan record, senders*each)
	var wg, readers sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				data := payload(uint64(s*each+i), 5000)
				p, err := l.Append(data[:100], data[100:])
				if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				entries <- record{p, data}
			}
		})
	}
	readers.Go(func() {
		n := 0
		for r := range entries {
			b, err := l.Read(r.pos, nil)
			if err != nil && !errors.Is(err, ErrNotFound) || err == nil && !bytes.Equal(b, r.data) {
				t.Errorf("Read(%v): %d bytes, %v", r.pos, len(b), err)
			}
			if n++; n%50 == 0 {
				if err := l.DeleteBefore(r.pos); err != nil {
					t.Errorf("DeleteBefore: %v", err)
				}
			}
		}
	})
	readers.Go(func() {
		for range 20 {
			last := Position(0)
			if err := l.ScanHeads(func(p Position, head []byte, size int) error {
				if p <= last || len(head) != 100 || size != 5000 {
					return fmt.Errorf("%v after %v: head %d of %d", p, last, len(head), size)
				}
				last = p
				return nil
			}); err != nil {
				t.Errorf("ScanHeads: %v", err)
			}
			_ = l.Stats()
			if _, err := Inspect(l.dir, Options{}); err != nil {
				t.Errorf("Inspect beside a running log: %v", err)
			}
		}
	})
	wg.Wait()
	close(entries)
	readers.Wait()
	if st := l.Stats(); st.SetAside != 0 || st.Lost != 0 || st.LastError != nil {
		t.Errorf("stats %+v", st)
	}
}
