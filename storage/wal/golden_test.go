package wal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/faultfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// writeV1 makes the log that testdata/v1 holds: a finished segment, a sealed one, and one that was being written when
// the machine stopped in the middle of a group.
func writeV1(t *testing.T) (*faultfs.Mem, *model) {
	t.Helper()
	fsys, m := faultfs.NewMem(), newModel()
	setID(t, fsys)
	now := time.Unix(1_750_000_000, 0)
	opt := tiny()
	opt.Now = func() time.Time { now = now.Add(time.Second); return now }
	l, err := memLog(fsys, &jobs{}, opt)
	mustRun(t, err)
	for i := range 8 {
		mustRun(t, m.appendGroup(l, newEntry(m, 40+i), newEntry(m, i)))
	}
	mustRun(t, m.deleteBefore(l, 8))
	fsys.StopAt(1, 100)
	if m.appendGroup(l, newEntry(m, 200)) == nil {
		t.Fatal("the last group was not torn")
	}
	return fsys.Crash(faultfs.KeepAll, 0), m
}

// setID makes an empty log whose id is always the same.
func setID(t testing.TB, fsys *faultfs.Mem) {
	t.Helper()
	mustRun(t, fsys.Mkdir("/log", 0o700))
	l := &Log{dir: "/log", fs: fsys}
	copy(l.id[:], "sixteen bytes id")
	mustRun(t, errors.Join(l.writeCheckpoint(0), fsys.SyncDir("/")))
}

// TestVersion1IsWrittenAndReadAsEver holds the format: what this version writes is byte for byte the golden log, and
// the golden log is read as it was meant.
func TestVersion1IsWrittenAndReadAsEver(t *testing.T) {
	fsys, m := writeV1(t)
	names, err := fsys.ReadDir("/log")
	mustRun(t, err)
	golden := filepath.Join("testdata", "v1")
	if *update {
		mustRun(t, os.MkdirAll(golden, 0o755))
	}
	for _, name := range names {
		b, file := fileBytes(t, fsys, "/log/"+name), filepath.Join(golden, name)
		if *update {
			mustRun(t, os.WriteFile(file, b, 0o644))
		}
		want, err := os.ReadFile(file)
		mustRun(t, err)
		if !bytes.Equal(b, want) {
			t.Errorf("%s is written differently from the golden file; a change of format needs a new version", name)
		}
	}

	dir := t.TempDir()
	mustRun(t, os.CopyFS(dir, os.DirFS(golden)))
	var text strings.Builder
	report, err := Verify(dir, Options{}, nil)
	mustRun(t, err)
	for _, s := range report.Segments {
		fmt.Fprintf(&text, "%s version %d %s, %d entries of %d bytes up to %d, %d torn", s.File, s.Version, s.State,
			s.Entries, s.Bytes, s.End, s.Torn)
		if s.Entries > 0 {
			fmt.Fprintf(&text, ", %d to %d", s.Oldest.Unix(), s.Newest.Unix())
		}
		text.WriteByte('\n')
	}
	l := open(t, dir, small())
	defer closeLog(t, l)
	mustRun(t, m.check(l))
	for _, r := range scanAll(t, l) {
		fmt.Fprintf(&text, "%v %d bytes %x %.8q\n", r.pos, len(r.data), sha256.Sum256(r.data), r.data)
	}
	file := filepath.Join(golden, "entries.txt")
	if *update {
		mustRun(t, os.WriteFile(file, []byte(text.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	mustRun(t, err)
	if text.String() != string(want) {
		t.Errorf("the golden log is read as\n%swant\n%s", text.String(), want)
	}
	appendTo(t, l, []byte("more"))
}
