package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"testing"
)

const create = os.O_RDWR | os.O_CREATE | os.O_EXCL

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, fsys FS, name, data string) File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.WriteAt(0, []byte(data))
	must(t, err)
	return f
}

// read returns a file's contents, or why there are none.
func read(fsys FS, name string) string {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	} else if err != nil {
		return err.Error()
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return err.Error()
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return err.Error()
	}
	return string(b)
}

// TestBothBehaveAlike runs one body on the machine's file system and on the one in memory.
func TestBothBehaveAlike(t *testing.T) {
	for name, fsys := range map[string]FS{"os": OS{}, "mem": NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := "/dir"
			if name == "os" {
				dir = t.TempDir() + dir
			}
			must(t, fsys.Mkdir(dir, 0o700))
			if err := fsys.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) {
				t.Errorf("second Mkdir: %v", err)
			}
			f, err := fsys.OpenFile(dir+"/a", create, 0o600)
			must(t, err)
			if _, err := fsys.OpenFile(dir+"/a", create, 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("second create: %v", err)
			}
			if err := f.Preallocate(8192); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatal(err)
			}
			must(t, f.Truncate(8192))
			// More buffers than one system call takes, empty ones among them.
			var bufs [][]byte
			var want []byte
			for i := range 3000 {
				b := []byte(fmt.Sprint(i))[:i%3]
				bufs, want = append(bufs, b), append(want, b...)
			}
			if n, err := f.WriteAt(100, bufs...); n != int64(len(want)) || err != nil {
				t.Errorf("WriteAt = %d, %v, want %d", n, err, len(want))
			}
			must(t, f.Sync())
			must(t, f.Truncate(100+int64(len(want))))
			must(t, f.Close())
			if err := f.Sync(); err == nil {
				t.Error("Sync after Close succeeded")
			}
			must(t, fsys.Rename(dir+"/a", dir+"/b"))
			must(t, fsys.SyncDir(dir))
			if got := read(fsys, dir+"/b"); got != string(make([]byte, 100))+string(want) {
				t.Errorf("read %d bytes, want %d", len(got), 100+len(want))
			}
			lock, err := fsys.Lock(dir + "/lock")
			must(t, err)
			if _, err := fsys.Lock(dir + "/lock"); !errors.Is(err, ErrLocked) {
				t.Errorf("second Lock: %v, want ErrLocked", err)
			}
			must(t, lock.Close())
			lock, err = fsys.Lock(dir + "/lock")
			must(t, err)
			must(t, lock.Close())
			if free, err := fsys.Free(dir); free <= 0 || err != nil {
				t.Errorf("Free = %d, %v", free, err)
			}
			names, err := fsys.ReadDir(dir)
			must(t, err)
			if !slices.Contains(names, "b") || slices.Contains(names, "a") {
				t.Errorf("ReadDir = %q", names)
			}
			must(t, fsys.Remove(dir+"/b"))
			if err := fsys.Remove(dir + "/b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("second Remove: %v", err)
			}
			if _, err := fsys.ReadDir(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ReadDir of nothing: %v", err)
			}
		})
	}
}

func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	m := NewMem()
	f := write(t, m, "/synced", "old")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt(0, []byte("new"))
	must(t, err)
	must(t, write(t, m, "/nameless", "x").Sync())
	must(t, m.Rename("/synced", "/renamed"))

	lost := m.Crash(LoseAll, 0)
	if a, b, c := read(lost, "/synced"), read(lost, "/nameless"), read(lost, "/renamed"); a != "old" || b != "missing" || c != "missing" {
		t.Errorf("LoseAll left %q, %q, %q", a, b, c)
	}
	if _, err := f.WriteAt(0, []byte("y")); !errors.Is(err, ErrCrashed) {
		t.Errorf("write after a crash: %v, want ErrCrashed", err)
	}
	kept := m.Crash(KeepAll, 0)
	if a, b, c := read(kept, "/synced"), read(kept, "/nameless"), read(kept, "/renamed"); a != "missing" || b != "x" || c != "new" {
		t.Errorf("KeepAll left %q, %q, %q", a, b, c)
	}
	// What only the process's death left is not durable yet.
	if got := read(kept.Crash(LoseAll, 0), "/synced"); got != "old" {
		t.Errorf("LoseAll after KeepAll left %q, want what was synced", got)
	}
}

func TestCrashTearsWrites(t *testing.T) {
	m := NewMem()
	f := write(t, m, "/f", string(bytes.Repeat([]byte("o"), 8192)))
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt(4096, bytes.Repeat([]byte("n"), 2048))
	must(t, err)
	for _, loss := range []Loss{LoseTail, LoseSome, Scramble} {
		seen := map[string]bool{}
		for seed := range uint64(50) {
			got := read(m.Crash(loss, seed), "/f")
			if again := read(m.Crash(loss, seed), "/f"); again != got {
				t.Fatalf("loss %d, seed %d is not repeatable", loss, seed)
			}
			if got[:4096] != string(bytes.Repeat([]byte("o"), 4096)) {
				t.Fatalf("loss %d, seed %d changed a page that was not written", loss, seed)
			}
			if loss != Scramble && got[6144:] != string(bytes.Repeat([]byte("o"), 2048)) {
				t.Fatalf("loss %d, seed %d changed bytes that were not written", loss, seed)
			}
			seen[got] = true
		}
		if len(seen) < 10 {
			t.Errorf("loss %d left only %d different files of 50", loss, len(seen))
		}
	}
}

func TestStopTearsTheLastOperation(t *testing.T) {
	for tear, want := range map[int]string{0: "", 2: "da", 9: "data"} {
		m := NewMem()
		must(t, m.SyncDir("/"))
		m.StopAt(2, tear)
		f, err := m.OpenFile("/f", create, 0o600)
		must(t, err)
		if _, err := f.WriteAt(0, []byte("data")); !errors.Is(err, ErrCrashed) || !m.Crashed() {
			t.Fatalf("the operation that stops: %v", err)
		}
		if got := read(m.Crash(KeepAll, 0), "/f"); got != want {
			t.Errorf("tear %d left %q, want %q", tear, got, want)
		}
	}
}

func TestFailedSyncLosesItsPages(t *testing.T) {
	m := NewMem()
	f := write(t, m, "/f", "old")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	_, err := f.WriteAt(0, []byte("new"))
	must(t, err)
	m.SetFault(func(op Op) error {
		if op.Kind == "sync" {
			return syscall.EIO
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync: %v, want EIO", err)
	}
	m.SetFault(nil)
	must(t, f.Sync())
	if got := read(m, "/f"); got != "new" {
		t.Errorf("readable: %q, want new", got)
	}
	if got := read(m.Crash(LoseTail, 1), "/f"); got != "old" {
		t.Errorf("durable after the second sync: %q, want old", got)
	}
}

func TestCapacityEndsWritesInTheMiddle(t *testing.T) {
	m := NewMem()
	m.SetCapacity(6)
	f, err := m.OpenFile("/f", create, 0o600)
	must(t, err)
	if err := f.Preallocate(7); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Preallocate of too much: %v, want ENOSPC", err)
	}
	if n, err := f.WriteAt(2, []byte("12345")); n != 4 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt = %d, %v, want 4, ENOSPC", n, err)
	}
	if got := read(m, "/f"); got != "\x00\x001234" {
		t.Errorf("file = %q", got)
	}
	must(t, m.Remove("/f"))
	if free, _ := m.Free("/"); free != 6 {
		t.Errorf("Free = %d after Remove, want 6", free)
	}
}
