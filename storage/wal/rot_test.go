package wal

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// TestRotIsNeverHandedOut damages an entry of a running log, in its head or behind it. Read and the scans that look
// there refuse it, hand out the others, and set the segment aside, which deletion then leaves alone.
func TestRotIsNeverHandedOut(t *testing.T) {
	for name, part := range map[string]int64{"head": 2, "rest": 80} {
		for _, first := range []string{"Read", "Scan", "ScanHeads"} {
			t.Run(name+" found by "+first, func(t *testing.T) {
				fsys, all := image(t, true)
				l, err := memLog(fsys, &jobs{}, tiny())
				mustRun(t, err)
				bad := all[4]
				file := "/log/" + fileName(bad.pos.Segment(), segmentSuffix)
				overwrite(t, fsys, file, bad.pos.Offset()+frameBytes+part, []byte("rot"))
				damaged := fileBytes(t, fsys, file)
				want := append(append([]record(nil), all[:4]...), all[5:]...)

				found := true
				switch first {
				case "Read":
					if b, err := l.Read(bad.pos, nil); !errors.Is(err, ErrCorrupt) || len(b) > 0 {
						t.Errorf("Read of a rotten entry = %q, %v, want ErrCorrupt", short(b), err)
					}
				case "Scan":
					checkRecords(t, scanAll(t, l), want)
				case "ScanHeads":
					var got []Position
					mustRun(t, l.ScanHeads(func(p Position, head []byte, _ int) error {
						if bytes.Contains(head, []byte("rot")) {
							t.Errorf("ScanHeads delivers %q", head)
						}
						got = append(got, p)
						return nil
					}))
					if found = name == "head"; found && len(got) != len(want) || !found && len(got) != len(all) {
						t.Errorf("ScanHeads delivers %d entries of %d", len(got), len(all))
					}
				}
				if st := l.Stats(); found && (st.SetAside != 1 || st.Lost != 1 || !errors.Is(st.LastError, ErrCorrupt)) {
					t.Errorf("stats %+v", st)
				}
				if _, err := l.Read(bad.pos, nil); !errors.Is(err, ErrCorrupt) {
					t.Errorf("Read of a rotten entry: %v, want ErrCorrupt", err)
				}
				for _, r := range want {
					if b, err := l.Read(r.pos, nil); err != nil || !bytes.Equal(b, r.data) {
						t.Errorf("Read(%v) = %q, %v", r.pos, short(b), err)
					}
				}
				mustRun(t, l.DeleteBefore(all[len(all)-1].pos))
				if _, err := fsys.OpenFile(file, os.O_RDONLY, 0); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the damaged segment kept its name: %v", err)
				}
				if got := fileBytes(t, fsys, "/log/"+fileName(bad.pos.Segment(), asideSuffix)); !bytes.Equal(got, damaged) {
					t.Error("the segment that was set aside has changed")
				}
				mustRun(t, l.Close())
			})
		}
	}
}

// TestMovedFramesAreNotValid copies a good group over another: at the same offset of another segment, to another
// offset of its own, and from another log.
func TestMovedFramesAreNotValid(t *testing.T) {
	other, all := image(t, true)
	l, err := memLog(other, &jobs{}, tiny())
	mustRun(t, err)
	copy(l.id[:], "another log's id")
	foreign := make([]byte, pageBytes)
	h := frame{kind: kindEntry, size: 3, headSize: 3, seq: 4}
	h.headSum, h.payloadSum = checksums(&l.id, 3, []byte("bad"))
	h.put(foreign, &l.id, all[3].pos)
	copy(foreign[frameBytes:], "bad")
	for name, from := range map[string][]byte{
		"segment": fileBytes(t, other, "/log/0000000002.wal")[2*pageBytes:][:pageBytes],
		"offset":  fileBytes(t, other, "/log/0000000001.wal")[pageBytes:][:pageBytes],
		"log":     foreign,
	} {
		t.Run(name, func(t *testing.T) {
			fsys, all := image(t, true)
			overwrite(t, fsys, "/log/0000000001.wal", 2*pageBytes, from)
			l, err := memLog(fsys, &jobs{}, tiny())
			mustRun(t, err)
			checkRecords(t, scanAll(t, l), append(append([]record(nil), all[:3]...), all[6:]...))
			if st := l.Stats(); st.Lost != 3 || st.SetAside != 1 {
				t.Errorf("stats %+v, want the three entries of the group lost", st)
			}
		})
	}
}
