package wal

import (
	"bytes"
	"os"
	"testing"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// FuzzRecoverSegment puts arbitrary bytes in the place of a segment between two good ones. Whatever they are, the log
// opens, delivers all of the good ones and of the other nothing but what was appended, goes on, finds the same twice,
// and deletes nothing that it did not deliver whole.
func FuzzRecoverSegment(f *testing.F) {
	for _, closed := range []bool{true, false} {
		fsys, _ := image(f, closed)
		for _, name := range segmentsOf(f, fsys) {
			f.Add(fileBytes(f, fsys, "/log/"+name), closed)
		}
		f.Add([]byte{}, closed)
		f.Add(make([]byte, 3*pageBytes+5), closed)
	}
	f.Fuzz(func(t *testing.T, b []byte, closed bool) {
		if len(b) > 64<<10 {
			t.Skip("larger than a segment of this log")
		}
		fsys, want := image(t, closed)
		const name = "/log/0000000002.wal"
		file, err := fsys.OpenFile(name, os.O_RDWR, 0)
		mustRun(t, err)
		mustRun(t, file.Truncate(0))
		overwrite(t, fsys, name, 0, b)
		var first []record
		for restart := range 3 {
			l, err := memLog(fsys, &jobs{}, tiny())
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			got := scanAll(t, l)
			if restart == 0 {
				for _, r := range missing(t, got, want) {
					if r.pos.Segment() != 2 {
						t.Fatalf("%v is lost by the bytes of segment 2", r.pos)
					}
				}
				first = got
				checkKept(t, fsys, b, got)
			}
			checkRecords(t, got, first)
			p, err := l.Append([]byte("more"))
			if err != nil {
				t.Fatalf("append: %v", err)
			}
			first = append(first, record{p, []byte("more")})
			fsys = fsys.Crash(faultfs.LoseAll, 0)
		}
	})
}

// checkKept checks that segment 2 was kept as it was when something in it could not be delivered.
func checkKept(t *testing.T, fsys *faultfs.Mem, b []byte, got []record) {
	t.Helper()
	entries := 0
	for _, r := range got {
		if r.pos.Segment() == 2 {
			entries++
		}
	}
	for _, name := range segmentsOf(t, fsys) {
		switch name {
		case "0000000002.wal":
			return
		case "0000000002.aside":
			if kept := fileBytes(t, fsys, "/log/"+name); !bytes.Equal(kept, b) {
				t.Fatalf("set aside with %d bytes, were %d", len(kept), len(b))
			}
			return
		}
	}
	t.Fatalf("segment 2 is gone, of which %d entries were delivered", entries)
}
