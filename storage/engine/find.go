package engine

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Start problems that no restart cures; Supervisor.Run returns them at once, wrapped.
var (
	ErrLibraryMissing = errors.New("engine library missing")
	ErrLibraryVersion = errors.New("engine library not usable")
	ErrDataDirLocked  = errors.New("engine data directory in use")
)

const libraryName = "libchdb.so"

//go:embed libchdb.lock
var lockText string

// lock is libchdb.lock: the one library version this code was written for and tested with.
var lock = parseLock(lockText)

// wantLibrary is what chdb_version must answer: the release without the packaging suffix.
var wantLibrary = lock["library_version"]

func parseLock(text string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			m[k] = v
		}
	}
	return m
}

// FindLibrary returns the path of the engine library: explicit if it is set (and then nothing else is tried), else beside
// the executable, else in the cache directory where fetch.sh puts it. The error is ErrLibraryMissing and says what to do.
func FindLibrary(explicit string) (string, error) {
	if explicit != "" {
		if !isFile(explicit) {
			return "", fmt.Errorf("%w: %s is not a file (--engine-lib)", ErrLibraryMissing, explicit)
		}
		return explicit, nil
	}
	var tried []string
	if exe, err := os.Executable(); err == nil {
		tried = append(tried, filepath.Join(filepath.Dir(exe), libraryName))
	}
	if dir, err := cacheDir(); err == nil {
		tried = append(tried, filepath.Join(dir, "libchdb", lock["version"], libraryName))
	}
	for _, path := range tried {
		if isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: looked for %s; run `make engine-lib`, or name the file with --engine-lib, or use a ClickHouse server with --clickhouse",
		ErrLibraryMissing, strings.Join(tried, " and "))
}

// cacheDir is where fetch.sh keeps what it fetched; the two must agree.
func cacheDir() (string, error) {
	if dir := os.Getenv("HEADGATE_CACHE_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "headgate"), err
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}
