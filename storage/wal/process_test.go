package wal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// childEnv makes the test binary a process that appends to the log in the named directory until it is killed, and
// prints "position seed" after each ack.
const childEnv = "HEADGATE_WAL_CHILD"

func runChild(dir string) error {
	l, err := Open(dir, Options{SegmentBytes: 256 << 10, MaxBytes: 64 << 20, ReserveBytes: -1})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for s := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				seed := uint64(os.Getpid()*8+s)<<20 + uint64(i)
				p, err := l.Append(childEntry(seed))
				if err != nil {
					return
				}
				mu.Lock()
				fmt.Println(uint64(p), seed)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.New("a sender stopped")
}

func childEntry(seed uint64) []byte {
	e := fmt.Appendf(nil, "%d ", seed)
	return append(e, bytes.Repeat([]byte{byte(seed)}, int(seed%9000))...)
}

// child starts a process that appends to dir, and returns it with what it prints.
func child(t *testing.T, dir string) (*exec.Cmd, *bufio.Scanner, *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out), &stderr
}

// TestAckedEntriesSurviveKill kills a process again and again while it appends to a real directory.
func TestAckedEntriesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[Position]uint64{}
	for round := range 4 {
		cmd, lines, stderr := child(t, dir)
		for n := 0; n < 60+40*round && lines.Scan(); n++ {
			noteAck(t, acked, lines.Text())
		}
		// Another process cannot have the directory now.
		second, none, refused := child(t, dir)
		if none.Scan() {
			t.Errorf("a second process opened the log: %q", none.Text())
		}
		if err := second.Wait(); err == nil || !strings.Contains(refused.String(), ErrLocked.Error()+": "+dir) {
			t.Errorf("second process: %v, stderr %q, want that %s is locked", err, refused, dir)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what was acknowledged and printed before the kill counts
			noteAck(t, acked, lines.Text())
		}
		_ = cmd.Wait() // killed
		if len(acked) == 0 {
			t.Fatalf("nothing was acknowledged: %s", stderr)
		}
		l := open(t, dir, Options{SegmentBytes: 256 << 10, MaxBytes: 64 << 20, ReserveBytes: -1})
		read := map[Position]bool{}
		for _, r := range scanAll(t, l) {
			text, _, _ := bytes.Cut(r.data, []byte(" "))
			seed, err := strconv.ParseUint(string(text), 10, 64)
			if err != nil || !bytes.Equal(r.data, childEntry(seed)) {
				t.Fatalf("%v was never sent: %q", r.pos, short(r.data))
			}
			if want, ok := acked[r.pos]; ok && want != seed {
				t.Fatalf("%v = entry %d, acknowledged as %d", r.pos, seed, want)
			}
			read[r.pos] = true
		}
		for p, seed := range acked {
			if !read[p] {
				t.Fatalf("round %d: acknowledged entry %d at %v is lost", round, seed, p)
			}
		}
		if st := l.Stats(); st.SetAside != 0 || st.Lost != 0 {
			t.Errorf("after a kill: %+v", st)
		}
		closeLog(t, l)
	}
	t.Logf("%d acknowledged entries", len(acked))
}

func noteAck(t *testing.T, acked map[Position]uint64, line string) {
	t.Helper()
	var p, seed uint64
	if _, err := fmt.Sscan(line, &p, &seed); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return // cut by the kill
		}
		t.Fatalf("child printed %q: %v", line, err)
	}
	acked[Position(p)] = seed
}
