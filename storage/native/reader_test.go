package native

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
)

// The embedded engine's HTTP front reads frames in Go. ClickHouse's own reader is asked through the file of a table, which
// has the same framing: it must read ours, and find what was changed in them.
func TestClickHouseItselfReadsFrames(t *testing.T) {
	opt := chtest.Options(t.TempDir())
	conn := chtest.StartOwn(t, opt).Open(t, "")
	exec := func(query string) {
		t.Helper()
		if err := conn.Exec(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	exec("CREATE TABLE f (s String CODEC(LZ4)) ENGINE = TinyLog")
	exec("INSERT INTO f SELECT toString(number) FROM numbers(50000)")
	var file string
	if err := filepath.WalkDir(opt.DataDir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, "/s.bin") {
			file = path
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, _ := framing(nil, func(w *frames) { w.bytes(raw(t, theirs)) })
	sizes := filepath.Join(filepath.Dir(file), "sizes.json")
	text, err := os.ReadFile(sizes)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, strconv.AppendInt(nil, int64(len(theirs)), 10), strconv.AppendInt(nil, int64(len(ours)), 10))
	sum := func(content []byte) (n uint64, err error) {
		t.Helper()
		exec("DETACH TABLE f")
		for path, b := range map[string][]byte{file: content, sizes: text} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		exec("ATTACH TABLE f")
		err = conn.QueryRow(t.Context(), "SELECT sum(toUInt64(s)) FROM f").Scan(&n)
		return n, err
	}
	if n, err := sum(ours); err != nil || n != 50_000*49_999/2 {
		t.Errorf("read back: %d, %v", n, err)
	}
	ours[40] ^= 1
	if _, err := sum(ours); err == nil || !strings.Contains(err.Error(), "Checksum") {
		t.Errorf("a changed byte: %v, want a checksum that does not match", err)
	}
}
