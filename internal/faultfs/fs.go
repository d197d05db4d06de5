// Package faultfs is the file system as a log needs it: few operations, each with its durability spelled out, so that
// the real one (OS) and one in memory that forgets, tears and fails (Mem) can stand in for each other.
//
// What both promise, and no more: bytes written are visible to readers at once, but survive a loss of power only after
// the file's Sync. A name made, changed or removed is visible at once, but survives only after SyncDir of its
// directory. Nothing is ordered between two syncs. After a failed Sync the bytes it should have written are lost even
// if a later Sync succeeds: the page cache takes them for clean.
package faultfs

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked is returned by FS.Lock when another process, or another Lock of this one, holds the name.
var ErrLocked = errors.New("locked")

// FS is a file system. Names are slash-separated paths. It is safe for concurrent use. Errors are those of package os:
// fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC and so on, found with errors.Is.
type FS interface {
	// OpenFile opens a file; of the flags, O_RDONLY, O_RDWR, O_CREATE and O_EXCL are known.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// ReadDir returns the names in a directory, sorted.
	ReadDir(dir string) ([]string, error)
	// Mkdir makes one directory; its parent must exist.
	Mkdir(dir string, perm fs.FileMode) error
	// Rename gives a file another name, atomically, replacing what had that name. Durable after SyncDir.
	Rename(oldName, newName string) error
	// Remove removes a name. Durable after SyncDir.
	Remove(name string) error
	// SyncDir makes the names in a directory durable, and not the files' contents.
	SyncDir(dir string) error
	// Lock takes the exclusive lock of a file, which it creates, without waiting: ErrLocked when it is taken. The lock
	// ends with Close or with the process.
	Lock(name string) (io.Closer, error)
	// Free returns the bytes that can still be allocated on the file system of dir.
	Free(dir string) (int64, error)
}

// File is an open file. ReadAt may be called concurrently with everything; the other methods by one goroutine at a
// time. Close does not sync.
type File interface {
	io.ReaderAt
	io.Closer
	// WriteAt writes the buffers one after the other from off on, in as few system calls as possible, and returns how
	// many bytes it wrote. The buffers are not kept. It fails when it writes less than all.
	WriteAt(off int64, bufs ...[]byte) (int64, error)
	// Sync makes the contents and the size durable (fdatasync); not the name, see FS.SyncDir.
	Sync() error
	// Forget drops what is cached of the file and not waiting to be written, as far as the system can, so that what
	// is read next comes from the disk. After a failed Sync the two differ.
	Forget() error
	// Truncate sets the size. Bytes it adds are zero and not allocated.
	Truncate(size int64) error
	// Preallocate sets the size and allocates the bytes, which read as zero. errors.ErrUnsupported when the file
	// system cannot.
	Preallocate(size int64) error
	// Size returns the size.
	Size() (int64, error)
}
