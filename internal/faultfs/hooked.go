package faultfs

import (
	"io/fs"
)

// Hooked is another file system whose syncs something is done to: they take long, or fail.
type Hooked struct {
	FS
	// BeforeSync is called before each File.Sync and SyncDir. An error of it is the sync's answer, and nothing is synced.
	// It is called concurrently.
	BeforeSync func() error
}

// OpenFile implements FS.
func (h Hooked) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return hookedFile{f, h.BeforeSync}, nil
}

// SyncDir implements FS.
func (h Hooked) SyncDir(dir string) error {
	if err := h.BeforeSync(); err != nil {
		return err
	}
	return h.FS.SyncDir(dir)
}

type hookedFile struct {
	File
	before func() error
}

// Sync implements File.
func (f hookedFile) Sync() error {
	if err := f.before(); err != nil {
		return err
	}
	return f.File.Sync()
}
