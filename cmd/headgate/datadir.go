package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/oklog/ulid/v2"

	"github.com/headgate-io/headgate/internal/store"
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

// replicaFile holds the name that this replica has among those of its database: a ULID.
const replicaFile = "replica"

// replica returns the name of the directory's log among the replicas' of a database, which is made at the first start. The
// ledger knows by it which requests of the log are billed, so it goes with the log wherever that is moved.
func (d *dataDir) replica() (string, error) {
	raw, err := os.ReadFile(d.file(replicaFile))
	if err == nil {
		id, err := ulid.ParseStrict(strings.TrimSpace(string(raw)))
		if err != nil {
			return "", fmt.Errorf("%s does not hold the name of a replica: restore the file, or the log's requests could be billed twice", d.file(replicaFile))
		}
		return id.String(), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if _, err := os.Stat(d.file(walDir)); err == nil {
		return "", fmt.Errorf("%s is missing beside a log: restore the file, or remove %s if nothing in it is to be kept", d.file(replicaFile), d.file(walDir))
	}
	id := ulid.Make().String()
	tmp := d.file(replicaFile + ".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(id + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, d.file(replicaFile)); err != nil {
		return "", err
	}
	return id, store.SyncDir(d.path)
}

// refuseLog returns an error if there is a log: what it holds would wait for ever beside a process that does not run it.
func (d *dataDir) refuseLog(role string) error {
	_, err := os.Stat(d.file(walDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is a log of acked requests, which --role %s does not take on: serve it with --role ingest or all, and give this process its own --data-dir",
		d.file(walDir), role)
}

// close gives the directory back.
func (d *dataDir) close() error {
	return errors.Join(removeIfThere(d.file(addressesFile)), d.lock.Close())
}
