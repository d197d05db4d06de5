package wal

import (
	"errors"
	"syscall"
)

// What callers branch on, with errors.Is.
var (
	// ErrLocked: the directory belongs to another Log.
	ErrLocked = errors.New("log directory is locked by another process")
	// ErrFull: the byte budget or the disk is spent. Nothing was written; it may succeed later.
	ErrFull = errors.New("log is full")
	// ErrTooLarge: the entry is larger than Options.MaxEntryBytes.
	ErrTooLarge = errors.New("entry is too large for the log")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("log is closed")
	// ErrFailed: the disk refused. The entry was not made durable; it may succeed later.
	ErrFailed = errors.New("log write failed")
	// ErrCorrupt: bytes that were durable cannot be read any more.
	ErrCorrupt = errors.New("log entry is corrupt")
	// ErrNotFound: the position is not in the log, or not any more.
	ErrNotFound = errors.New("position is not in the log")
	// ErrVersion: a file of a newer version of this package.
	ErrVersion = errors.New("written by a newer version")
)

// isFull reports whether err says that there is no space, which time or an operator may change.
func isFull(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
