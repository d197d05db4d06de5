package wal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// image makes a log of three segments and returns its file system and entries. The last group of an open image is the
// tail that a crash left; a closed one has no such tail.
func image(t testing.TB, closed bool) (*faultfs.Mem, []record) {
	t.Helper()
	fsys, m := faultfs.NewMem(), newModel()
	setID(t, fsys)
	l, err := memLog(fsys, &jobs{}, tiny())
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		if err := m.appendGroup(l, newEntry(m, 90), newEntry(m, 91), newEntry(m, 92)); err != nil {
			t.Fatal(err)
		}
	}
	if closed {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fsys.Crash(faultfs.LoseAll, 0), m.acked
}

func fileBytes(t testing.TB, fsys faultfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, _ := f.Size()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

func overwrite(t testing.TB, fsys faultfs.FS, name string, off int64, b []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(off, b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// segmentsOf returns the names of the segment files, set aside or not.
func segmentsOf(t testing.TB, fsys faultfs.FS) []string {
	t.Helper()
	names, err := fsys.ReadDir("/log")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range names {
		if _, _, ok := parseName(n); ok {
			out = append(out, n)
		}
	}
	return out
}

// missing returns the entries of want that got has not, and fails when got has others.
func missing(t testing.TB, got, want []record) []record {
	t.Helper()
	have := map[Position][]byte{}
	for _, r := range got {
		have[r.pos] = r.data
	}
	var out []record
	for _, r := range want {
		b, ok := have[r.pos]
		if ok && !bytes.Equal(b, r.data) {
			t.Fatalf("%v = %q, want %q", r.pos, short(b), short(r.data))
		}
		if !ok {
			out = append(out, r)
		}
		delete(have, r.pos)
	}
	if len(have) > 0 {
		t.Fatalf("delivered what was never appended: %v", have)
	}
	return out
}

// TestDamageCostsOnlyWhatItHits flips a bit in each byte of a log. At most the entry that was hit is not delivered (of
// the group that was written last, what follows it too: that looks like a tear); its segment is set aside unless
// nothing but a seal, padding or the tail was hit, and kept for ever; the log goes on.
func TestDamageCostsOnlyWhatItHits(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed %v", closed), func(t *testing.T) {
			t.Parallel()
			fsys, want := image(t, closed)
			contents := map[string][]byte{}
			for _, name := range segmentsOf(t, fsys) {
				contents[name] = fileBytes(t, fsys, "/log/"+name)
			}
			for name, content := range contents {
				step := int64(1)
				if brief {
					step = 29
				}
				for off := int64(0); off < int64(len(content)); off += step {
					if off%pageBytes > 480 && off%pageBytes < pageBytes-8 {
						continue // zeros
					}
					flipAt(t, fsys, "/log/"+name, off, content, want, closed)
				}
			}
		})
	}
}

func flipAt(t *testing.T, image *faultfs.Mem, name string, off int64, content []byte, want []record, closed bool) {
	t.Helper()
	fsys := image.Crash(faultfs.LoseAll, 0)
	flipped := bytes.Clone(content[off : off+1])
	flipped[0] ^= 0x10
	overwrite(t, fsys, name, off, flipped)
	number, _, _ := parseName(path.Base(name))
	hit := at(number, off)
	l, err := memLog(fsys, &jobs{}, tiny())
	if err != nil {
		t.Fatalf("%v: open: %v", hit, err)
	}
	got := scanAll(t, l)
	lost := missing(t, got, want)
	last := want[len(want)-1].pos
	inTail := !closed && number == last.Segment() && off >= want[len(want)-3].pos.Offset()
	for _, r := range lost {
		end := r.pos + Position(alignUp(int64(frameBytes+len(r.data)), frameAlign))
		if !inTail && (hit < r.pos || hit >= end) || inTail && end <= hit {
			t.Fatalf("%v was hit, and %v is gone", hit, r.pos)
		}
	}
	st := l.Stats()
	if !inTail && (st.Lost != uint64(len(lost)) || len(lost) > 0 && st.SetAside != 1) {
		t.Fatalf("%v was hit, %d entries are gone, stats %+v", hit, len(lost), st)
	}
	p, err := l.Append([]byte("more"))
	if err != nil {
		t.Fatalf("%v: append: %v", hit, err)
	}
	got = append(got, record{p, []byte("more")})
	l, err = memLog(fsys.Crash(faultfs.LoseAll, 0), &jobs{}, tiny())
	if err != nil {
		t.Fatalf("%v: open again: %v", hit, err)
	}
	checkRecords(t, scanAll(t, l), got)
	if err := l.DeleteBefore(p); err != nil {
		t.Fatalf("%v: delete: %v", hit, err)
	}
	if st.SetAside == 1 {
		kept := fileBytes(t, l.fs, strings.TrimSuffix(name, segmentSuffix)+asideSuffix)
		if !bytes.Equal(kept[:off], content[:off]) || !bytes.Equal(kept[off+1:], content[off+1:]) || kept[off] != flipped[0] {
			t.Fatalf("%v: the segment that was set aside has changed", hit)
		}
	}
}

// TestNotUnderstoodSegmentsAreSetAside covers whole segments of which nothing can be delivered.
func TestNotUnderstoodSegmentsAreSetAside(t *testing.T) {
	header := func(change func(b []byte)) func(b []byte) []byte {
		return func(b []byte) []byte {
			change(b)
			le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
			return b
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"newer version": header(func(b []byte) { b[8] = version + 1 }),
		"other log":     header(func(b []byte) { b[16] ^= 1 }),
		"other number":  header(func(b []byte) { b[12] ^= 64 }),
		"noise":         func(b []byte) []byte { return payload(9, len(b)) },
		"empty":         func([]byte) []byte { return nil },
		"zeros":         func(b []byte) []byte { return make([]byte, len(b)) },
	} {
		for number := uint32(1); number <= 3; number++ {
			t.Run(fmt.Sprintf("%s/%d", name, number), func(t *testing.T) {
				fsys, all := image(t, true)
				file := "/log/" + fileName(number, segmentSuffix)
				changed := change(fileBytes(t, fsys, file))
				f, err := fsys.OpenFile(file, os.O_RDWR, 0)
				mustRun(t, err)
				mustRun(t, f.Truncate(0))
				mustRun(t, f.Close())
				overwrite(t, fsys, file, 0, changed)
				var want []record
				for _, r := range all {
					if r.pos.Segment() != number {
						want = append(want, r)
					}
				}
				for range 3 {
					l, err := memLog(fsys, &jobs{}, tiny())
					mustRun(t, err)
					checkRecords(t, scanAll(t, l), want)
					if st := l.Stats(); st.SetAside != 1 || st.SetAsideBytes != int64(len(changed)) {
						t.Fatalf("stats %+v, want one segment of %d bytes set aside", st, len(changed))
					}
					data := []byte("more")
					want = append(want, record{appendTo(t, l, data), data})
					mustRun(t, l.Close())
				}
				aside := "/log/" + fileName(number, asideSuffix)
				if got := fileBytes(t, fsys, aside); !bytes.Equal(got, changed) {
					t.Error("the segment that was set aside has changed")
				}
				l, err := memLog(fsys, &jobs{}, tiny())
				mustRun(t, err)
				mustRun(t, l.DeleteBefore(l.Stats().End))
				if got := fileBytes(t, fsys, aside); !bytes.Equal(got, changed) {
					t.Error("the segment that was set aside has changed by deletion")
				}
			})
		}
	}
}

func TestLostCheckpointDeliversEverythingLeft(t *testing.T) {
	for name, change := range map[string]func(fsys *faultfs.Mem) error{
		"missing": func(fsys *faultfs.Mem) error { return fsys.Remove("/log/checkpoint") },
		"damaged": func(fsys *faultfs.Mem) error {
			f, err := fsys.OpenFile("/log/checkpoint", os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt(20, []byte("damage"))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, want := image(t, false)
			mustRun(t, change(fsys))
			for range 2 {
				l, err := memLog(fsys, &jobs{}, tiny())
				mustRun(t, err)
				checkRecords(t, scanAll(t, l), want)
				data := []byte("more")
				want = append(want, record{appendTo(t, l, data), data})
				mustRun(t, l.Close())
			}
		})
	}
}

func TestNewerCheckpointIsRefused(t *testing.T) {
	fsys, _ := image(t, true)
	b := fileBytes(t, fsys, "/log/checkpoint")
	b[8] = version + 1
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	overwrite(t, fsys, "/log/checkpoint", 0, b)
	if _, err := memLog(fsys, &jobs{}, tiny()); !errors.Is(err, ErrVersion) {
		t.Errorf("Open: %v, want ErrVersion", err)
	}
}

func TestMissingSegmentIsCounted(t *testing.T) {
	fsys, all := image(t, true)
	mustRun(t, fsys.Remove("/log/"+fileName(2, segmentSuffix)))
	var want []record
	for _, r := range all {
		if r.pos.Segment() != 2 {
			want = append(want, r)
		}
	}
	l, err := memLog(fsys, &jobs{}, tiny())
	mustRun(t, err)
	checkRecords(t, scanAll(t, l), want)
	if st := l.Stats(); st.Lost != uint64(len(all)-len(want)) {
		t.Errorf("Lost = %d, want %d", st.Lost, len(all)-len(want))
	}
}

// badPages is a file some of whose pages the disk cannot read.
type badPages struct {
	io.ReaderAt
	bad map[int64]bool
}

func (f badPages) ReadAt(p []byte, off int64) (int, error) {
	for page := off / pageBytes; page*pageBytes < off+int64(len(p)); page++ {
		if f.bad[page] {
			return 0, errors.New("input/output error")
		}
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestUnreadablePagesCostOnlyTheirEntries(t *testing.T) {
	fsys, want := image(t, true)
	l, err := memLog(fsys, &jobs{}, tiny())
	mustRun(t, err)
	f, err := fsys.OpenFile("/log/"+fileName(1, segmentSuffix), os.O_RDONLY, 0)
	mustRun(t, err)
	s := l.segments[0]
	w := walk(badPages{f, map[int64]bool{2: true}}, &l.id, 1, s.end, false)
	w.r.lenient = true
	var got []Position
	for {
		off, _, ok, err := w.step()
		mustRun(t, err)
		if !ok {
			break
		}
		got = append(got, at(1, off))
	}
	var expect []Position
	for _, r := range want {
		if r.pos.Segment() == 1 && r.pos.Offset()/pageBytes != 2 {
			expect = append(expect, r.pos)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(expect) || w.r.bad == nil || w.damage(s.end) == nil {
		t.Errorf("walk found %v, want %v; damage %v", got, expect, w.damage(s.end))
	}
	strict := walk(badPages{f, map[int64]bool{1: true}}, &l.id, 1, s.end, false)
	if _, _, _, err := strict.step(); err == nil {
		t.Error("a strict walk over an unreadable page succeeded")
	}
}
