package pgtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Directories of servers are named short: the path of a Unix socket has 107 characters at most.
const (
	dirPrefix = "hgpg-"
	lockFile  = "lock"
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
			_ = os.RemoveAll(filepath.Dir(path))
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
		err = os.Rename(made.Name(), path)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return dir, lock, err
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
