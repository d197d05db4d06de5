package pgtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Directories of servers are named short: the path of a Unix socket has 107 characters at most.
const (
	dirPrefix = "hgpg-"
	lockFile  = "lock"

	memory      = "/dev/shm"
	memoryNeeds = 2 << 30 // free, for several servers of 200 MB or so
)

// makeDir makes a directory that is this process's as long as the returned file is open, and removes those that processes left
// behind which were killed.
func makeDir() (dir string, lock *os.File, err error) {
	left, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*", lockFile))
	if err != nil {
		return "", nil, err
	}
	for _, path := range left {
		if f, err := lockOf(path); err == nil {
			remove(filepath.Dir(path))
			_ = f.Close()
		}
	}
	if dir, err = os.MkdirTemp("", dirPrefix); err != nil {
		return "", nil, err
	}
	path := filepath.Join(dir, lockFile)
	// The lock is there before the name is: nobody removes what was just made.
	made, err := os.CreateTemp(dir, "made-")
	if err == nil {
		lock, err = lockOf(made.Name())
		err = errors.Join(err, made.Close())
	}
	if err == nil {
		err = errors.Join(os.Mkdir(dataOf(dir), 0o700), os.Rename(made.Name(), path))
	}
	if err != nil {
		remove(dir)
	}
	return dir, lock, err
}

// dataOf returns the directory of the data that belongs to dir. It is in memory where there is room: a killed server leaves
// what it has synced there as it does on a disk, in a tenth of the time.
func dataOf(dir string) string {
	if roomy {
		return filepath.Join(memory, filepath.Base(dir))
	}
	return filepath.Join(dir, "data")
}

var roomy = func() bool {
	var s syscall.Statfs_t
	err := syscall.Statfs(memory, &s)
	return err == nil && syscall.Access(memory, 2) == nil && int64(s.Bavail)*s.Bsize >= memoryNeeds
}()

func remove(dir string) {
	_ = os.RemoveAll(filepath.Join(memory, filepath.Base(dir)))
	_ = os.RemoveAll(dir)
}

func lockOf(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// linkTree makes a copy of the directory from at to, of the same files where the file system lets it.
func linkTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return errors.Join(os.Mkdir(name, 0o755), os.Chmod(name, 0o755)) // whatever the umask
		}
		if os.Link(path, name) == nil {
			return nil
		}
		if d.Type() == fs.ModeSymlink {
			target, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(target, name))
		}
		content, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(name, content, 0o755))
	})
}

// find returns the directory that fetch.sh fetched to.
func find() (string, error) {
	cache := os.Getenv("HEADGATE_CACHE_DIR")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(dir, "headgate")
	}
	dir := filepath.Join(cache, "postgres", version())
	if _, err := os.Stat(filepath.Join(dir, "bin", "postgres")); err != nil {
		return "", errors.Join(err, errors.New("run `make postgres` to fetch it, or name a server in "+serverEnv))
	}
	return dir, nil
}

// version is that of postgres.lock.
func version() string {
	for line := range strings.Lines(lock) {
		if v, ok := strings.CutPrefix(line, "version="); ok {
			return strings.TrimSpace(v)
		}
	}
	panic("BUG: postgres.lock has no version")
}
