package wal

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/headgate-io/headgate/internal/faultfs"
)

func states(r Report) string {
	var s []string
	for _, seg := range r.Segments {
		s = append(s, fmt.Sprintf("%d %s %d-%d", seg.Number, seg.State, seg.Entries, seg.Lost))
	}
	slices.Sort(s)
	return fmt.Sprint(s)
}

func TestInspectSaysWhatRecoveryWouldFind(t *testing.T) {
	for _, tc := range []struct {
		name   string
		closed bool
		harm   func(t *testing.T, fsys *faultfs.Mem)
		want   string // of Inspect: number, state, entries-lost
		verify string // of Verify, when different
	}{
		{name: "ordered stop", closed: true, want: "[1 sealed 9-0 2 sealed 9-0 3 sealed 6-0]"},
		{name: "crash", want: "[1 sealed 9-0 2 sealed 9-0 3 current 6-0 4 current 0-0]"},
		{
			name: "torn tail", want: "[1 sealed 9-0 2 sealed 9-0 3 torn 6-0 4 current 0-0]",
			harm: func(t *testing.T, fsys *faultfs.Mem) {
				overwrite(t, fsys, "/log/0000000003.wal", 3*pageBytes, []byte("torn"))
			},
		},
		{
			name: "rotten payload", closed: true, want: "[1 sealed 9-0 2 sealed 9-0 3 sealed 6-0]",
			verify: "[1 sealed 9-0 2 damaged 8-1 3 sealed 6-0]",
			harm: func(t *testing.T, fsys *faultfs.Mem) {
				overwrite(t, fsys, "/log/0000000002.wal", 2*pageBytes+frameBytes+5, []byte("rot"))
			},
		},
		{
			name: "vanished group", closed: true, want: "[1 sealed 9-0 2 sealed 9-0 3 sealed 6-0]",
			verify: "[1 sealed 9-0 2 damaged 6-3 3 sealed 6-0]",
			harm: func(t *testing.T, fsys *faultfs.Mem) {
				overwrite(t, fsys, "/log/0000000002.wal", 2*pageBytes, make([]byte, pageBytes))
			},
		},
		{
			name: "no header, no seal", closed: true, want: "[1 sealed 9-0 2 damaged 9-0 3 sealed 6-0]",
			harm: func(t *testing.T, fsys *faultfs.Mem) {
				overwrite(t, fsys, "/log/0000000002.wal", 0, make([]byte, pageBytes))
				overwrite(t, fsys, "/log/0000000002.wal", 4*pageBytes, make([]byte, pageBytes))
			},
		},
		{
			name: "noise", closed: true, want: "[1 sealed 9-0 2 not understood 0-0 3 sealed 6-9]",
			harm: func(t *testing.T, fsys *faultfs.Mem) {
				overwrite(t, fsys, "/log/0000000002.wal", 0, payload(3, 5*pageBytes))
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys, _ := image(t, tc.closed)
			if tc.harm != nil {
				tc.harm(t, fsys)
			}
			before := fsys.Ops()
			r, err := Inspect("/log", Options{FS: fsys})
			mustRun(t, err)
			if got := states(r); got != tc.want {
				t.Errorf("Inspect = %s, want %s", got, tc.want)
			}
			calls := 0
			v, err := Verify("/log", Options{FS: fsys}, func(SegmentReport) error { calls++; return nil })
			mustRun(t, err)
			if tc.verify == "" {
				tc.verify = tc.want
			}
			if got := states(v); got != tc.verify {
				t.Errorf("Verify = %s, want %s", got, tc.verify)
			}
			if calls != len(v.Segments) {
				t.Errorf("Verify reported %d segments of %d", calls, len(v.Segments))
			}
			for _, s := range v.Segments {
				if bad := s.State == Damaged || s.State == NotUnderstood; bad != (s.Problem != nil) {
					t.Errorf("segment %d is %s, problem %v", s.Number, s.State, s.Problem)
				}
			}
			if fsys.Ops() != before {
				t.Error("inspection changed something")
			}
			l, err := memLog(fsys, &jobs{}, tiny())
			mustRun(t, err)
			_ = scanAll(t, l)
			if st := l.Stats(); st.Entries-st.Lost > v.Entries || st.Lost != v.Lost {
				t.Errorf("Verify found %d entries, %d lost; the log %d, %d", v.Entries, v.Lost, st.Entries, st.Lost)
			}
		})
	}
}

func TestInspectReportsWhatIsOver(t *testing.T) {
	fsys, want := image(t, true)
	overwrite(t, fsys, "/log/0000000001.wal", 0, []byte("damage"))
	l, err := memLog(fsys, &jobs{}, tiny())
	mustRun(t, err)
	mustRun(t, l.DeleteBefore(want[len(want)-1].pos))
	mustRun(t, l.Close())
	r, err := Inspect("/log", Options{FS: fsys})
	mustRun(t, err)
	if got := states(r); r.Checkpoint != 3 || got != "[1 set aside 0-0 3 sealed 6-0]" {
		t.Errorf("checkpoint %d, %s", r.Checkpoint, got)
	}
	if _, err := Inspect("/none", Options{FS: fsys}); err == nil {
		t.Error("Inspect of nothing succeeded")
	}
	stop := errors.New("stop")
	if _, err := Verify("/log", Options{FS: fsys}, func(SegmentReport) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Verify: %v, want the callback's error", err)
	}
}
