package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dataDir is the directory that one running headgate owns.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the directory if need be and takes its lock, which the kernel gives back however the process ends.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w; headgate needs to write to it", path, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(lock.Name())
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is in use by another headgate (process %s): stop it, or give this one its own --data-dir",
				path, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("data directory %s: lock: %w", path, err)
	}
	d := &dataDir{path: path, lock: lock}
	if err := lock.Truncate(0); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	if _, err := fmt.Fprintf(lock, "%d\n", os.Getpid()); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	// An address file of a process that was killed would send commands to whoever has the port now.
	return d, removeIfThere(d.file(addressesFile))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// publish writes addresses.json so that readers see it whole or not at all.
func (d *dataDir) publish(a addresses) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	tmp := d.file(addressesFile + ".tmp")
	if err := os.WriteFile(tmp, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", addressesFile, err)
	}
	return os.Rename(tmp, d.file(addressesFile))
}

// close gives the directory back.
func (d *dataDir) close() error {
	return errors.Join(removeIfThere(d.file(addressesFile)), d.lock.Close())
}
