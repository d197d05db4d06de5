package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"syscall"
	"unsafe"
)

// OS is the file system of the machine.
type OS struct{}

var _ FS = OS{}

// OpenFile opens a file by the bare system call: no poller, no finalizer. A File that is not closed leaks.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	fd, err := open(name, flag|syscall.O_CLOEXEC, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &osFile{fd: fd, name: name}, nil
}

// ReadDir returns the names in a directory, sorted.
func (OS) ReadDir(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

// Mkdir makes one directory.
func (OS) Mkdir(dir string, perm fs.FileMode) error { return os.Mkdir(dir, perm) }

// Rename gives a file another name, atomically.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Remove removes a name.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir makes the names in a directory durable.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Lock takes the flock of a file. It belongs to the open file, so it also holds off this process itself.
func (OS) Lock(name string) (io.Closer, error) {
	fd, err := open(name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	err = retry(func() error { return syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) })
	if err == nil {
		return &osFile{fd: fd, name: name}, nil
	}
	syscall.Close(fd)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
}

// Free returns the bytes that unprivileged processes can still allocate.
func (OS) Free(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := retry(func() error { return syscall.Statfs(dir, &st) }); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if free := st.Bavail * uint64(st.Bsize); free < math.MaxInt64 {
		return int64(free), nil
	}
	return math.MaxInt64, nil
}

type osFile struct {
	fd   int
	name string
	iov  []syscall.Iovec // of WriteAt, kept between calls
}

// maxIOV is the kernel's IOV_MAX.
const maxIOV = 1024

func (f *osFile) WriteAt(off int64, bufs ...[]byte) (int64, error) {
	var done int64
	for len(bufs) > 0 {
		f.iov = f.iov[:0]
		var want int64
		n := 0
		for n < len(bufs) && len(f.iov) < maxIOV {
			if b := bufs[n]; len(b) > 0 {
				f.iov = append(f.iov, syscall.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))})
				want += int64(len(b))
			}
			n++
		}
		bufs = bufs[n:]
		wrote, err := f.writeAll(off+done, want)
		done += wrote
		if err != nil {
			clear(f.iov)
			return done, f.wrap("pwritev", err)
		}
	}
	clear(f.iov) // let go of the callers' buffers
	return done, nil
}

// writeAll writes what f.iov holds, want bytes, across short writes.
func (f *osFile) writeAll(off, want int64) (int64, error) {
	iov := f.iov
	var done int64
	for done < want {
		// The offset travels in one register on 64-bit machines; the high half is ignored there.
		n, _, errno := syscall.Syscall6(syscall.SYS_PWRITEV, uintptr(f.fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)),
			uintptr(off+done), 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0:
			return done, errno
		case n == 0:
			return done, io.ErrShortWrite
		}
		done += int64(n)
		for n > 0 && n >= uintptr(iov[0].Len) {
			n -= uintptr(iov[0].Len)
			iov = iov[1:]
		}
		if n > 0 {
			iov[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iov[0].Base), n))
			iov[0].Len -= uint64(n)
		}
	}
	return done, nil
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := syscall.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return done, f.wrap("pread", err)
		case n == 0:
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

func (f *osFile) Sync() error {
	return f.wrap("fdatasync", retry(func() error { return syscall.Fdatasync(f.fd) }))
}

func (f *osFile) Forget() error {
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	if _, _, errno := syscall.Syscall6(syscall.SYS_FADVISE64, uintptr(f.fd), 0, 0, dontNeed, 0, 0); errno != 0 {
		return f.wrap("fadvise", errno)
	}
	return nil
}

func (f *osFile) Truncate(size int64) error {
	return f.wrap("ftruncate", retry(func() error { return syscall.Ftruncate(f.fd, size) }))
}

func (f *osFile) Preallocate(size int64) error {
	return f.wrap("fallocate", retry(func() error { return syscall.Fallocate(f.fd, 0, 0, size) }))
}

func (f *osFile) Size() (int64, error) {
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Fstat(f.fd, &st) }); err != nil {
		return 0, f.wrap("fstat", err)
	}
	return st.Size, nil
}

// Close closes the file. It is not repeated after EINTR: on Linux the descriptor is gone all the same.
func (f *osFile) Close() error { return f.wrap("close", syscall.Close(f.fd)) }

func (f *osFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func open(name string, flag int, perm fs.FileMode) (fd int, err error) {
	err = retry(func() error {
		fd, err = syscall.Open(name, flag, uint32(perm.Perm()))
		return err
	})
	return fd, err
}

// retry repeats a system call that a signal interrupted; the runtime's own preemption signals do.
func retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
