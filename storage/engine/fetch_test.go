package engine_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fetcher runs fetch.sh against an npm of its own that hands out a given package and counts its calls.
type fetcher struct {
	t                *testing.T
	dir, bin, lock   string
	pkg              []byte
	library          []byte
	packageOK, libOK bool
}

func newFetcher(t *testing.T) *fetcher {
	f := &fetcher{t: t, dir: t.TempDir(), library: []byte("a library"), packageOK: true, libOK: true}
	f.bin = filepath.Join(f.dir, "bin")
	f.lock = filepath.Join(f.dir, "lock")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, data := range map[string][]byte{"package/package.json": []byte("{}"), "package/libchdb.so": f.library} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.pkg = b.Bytes()
	if err := os.Mkdir(f.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "sed", "uname", "mkdir", "stat", "cat", "cut", "sha512sum", "chmod", "mv", "mktemp", "rm", "find", "head", "tar", "gzip", "sleep", "dirname", "cp"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatalf("fetch.sh needs %s: %v", tool, err)
		}
		if err := os.Symlink(path, filepath.Join(f.bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// npm installs the npm that fetch.sh finds; script runs in the directory npm pack writes to.
func (f *fetcher) npm(script string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "pkg.tgz"), f.pkg, 0o644); err != nil {
		f.t.Fatal(err)
	}
	body := "#!/bin/sh\necho call >>" + f.dir + "/calls\n" + strings.ReplaceAll(script, "PKG", filepath.Join(f.dir, "pkg.tgz")) + "\n"
	if err := os.WriteFile(filepath.Join(f.bin, "npm"), []byte(body), 0o755); err != nil {
		f.t.Fatal(err)
	}
}

// run returns the standard output, the standard error and whether the script succeeded.
func (f *fetcher) run() (stdout, stderr string, ok bool) {
	f.t.Helper()
	sum := func(b []byte, good bool) string {
		if !good {
			b = append([]byte("other"), b...)
		}
		return fmt.Sprintf("%x", sha512.Sum512(b))
	}
	lock := fmt.Sprintf("package=@x/y\nversion=1.0\npackage_sha512=%s\nlibrary_sha512=%s\n", sum(f.pkg, f.packageOK), sum(f.library, f.libOK))
	if err := os.WriteFile(f.lock, []byte(lock), 0o644); err != nil {
		f.t.Fatal(err)
	}
	return f.start()
}

func (f *fetcher) start() (stdout, stderr string, ok bool) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(f.t.Context(), "sh", "fetch.sh")
	cmd.Env = []string{"PATH=" + f.bin, "HOME=" + f.dir, "HEADGATE_CACHE_DIR=" + filepath.Join(f.dir, "cache"), "HEADGATE_ENGINE_LOCK=" + f.lock}
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String(), errs.String(), err == nil
}

func (f *fetcher) calls() int {
	b, _ := os.ReadFile(filepath.Join(f.dir, "calls"))
	return bytes.Count(b, []byte("call"))
}

func (f *fetcher) path() string { return filepath.Join(f.dir, "cache/libchdb/1.0/libchdb.so") }

func (f *fetcher) wantNothingLeft() {
	f.t.Helper()
	left, _ := filepath.Glob(filepath.Join(f.dir, "cache/libchdb/1.0/*"))
	if len(left) != 0 {
		f.t.Errorf("left behind: %v", left)
	}
}

func TestFetchPutsLibraryInPlaceOnce(t *testing.T) {
	f := newFetcher(t)
	f.npm("cp PKG x-y-1.0.tgz")
	for range 2 {
		out, errs, ok := f.run()
		if !ok {
			t.Fatalf("fetch.sh failed:\n%s", errs)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if got := lines[len(lines)-1]; got != f.path() {
			t.Errorf("last line = %q, want %q", got, f.path())
		}
	}
	if got, err := os.ReadFile(f.path()); err != nil || !bytes.Equal(got, f.library) {
		t.Errorf("library = %q, %v, want %q", got, err, f.library)
	}
	if got := f.calls(); got != 1 {
		t.Errorf("npm was called %d times, want 1", got)
	}
}

func TestFetchRefusesOtherBytes(t *testing.T) {
	for name, spoil := range map[string]func(*fetcher){
		"package": func(f *fetcher) { f.packageOK = false },
		"library": func(f *fetcher) { f.libOK = false },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFetcher(t)
			f.npm("cp PKG x-y-1.0.tgz")
			spoil(f)
			if out, errs, ok := f.run(); ok || !strings.Contains(errs, "REFUSED") || out != "" {
				t.Errorf("fetch.sh ok = %t, stdout %q, stderr:\n%s\nwant a refusal", ok, out, errs)
			}
			f.wantNothingLeft()
		})
	}
}

func TestFetchReplacesLibraryThatChanged(t *testing.T) {
	f := newFetcher(t)
	f.npm("cp PKG x-y-1.0.tgz")
	if _, errs, ok := f.run(); !ok {
		t.Fatalf("fetch.sh failed:\n%s", errs)
	}
	if err := os.WriteFile(f.path(), []byte("something else"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, errs, ok := f.run(); !ok {
		t.Fatalf("fetch.sh failed:\n%s", errs)
	}
	if got, _ := os.ReadFile(f.path()); !bytes.Equal(got, f.library) {
		t.Errorf("library = %q, want %q", got, f.library)
	}
}

func TestFetchSaysWhatToDo(t *testing.T) {
	for name, tc := range map[string]struct{ npm, want string }{
		"no npm":   {"", "npm is needed"},
		"no route": {"echo 'npm error network' >&2; exit 1", "npm config set proxy"},
		"nothing":  {"exit 0", "--engine-lib"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFetcher(t)
			if tc.npm != "" {
				f.npm(tc.npm)
			}
			if _, errs, ok := f.run(); ok || !strings.Contains(errs, tc.want) || !strings.Contains(errs, f.path()) {
				t.Errorf("fetch.sh ok = %t, stderr:\n%s\nwant %q and the path in it", ok, errs, tc.want)
			}
			f.wantNothingLeft()
		})
	}
}

func TestFetchesAtTheSameTimeAgree(t *testing.T) {
	f := newFetcher(t)
	f.npm("cp PKG x-y-1.0.tgz")
	if _, errs, ok := f.run(); !ok { // writes the lock file
		t.Fatalf("fetch.sh failed:\n%s", errs)
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "cache")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if out, errs, ok := f.start(); !ok || !strings.HasSuffix(out, f.path()+"\n") {
				t.Errorf("fetch.sh ok = %t, stdout %q, stderr:\n%s", ok, out, errs)
			}
		})
	}
	wg.Wait()
	if got, _ := os.ReadFile(f.path()); !bytes.Equal(got, f.library) {
		t.Errorf("library = %q, want %q", got, f.library)
	}
}
