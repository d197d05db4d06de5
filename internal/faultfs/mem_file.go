package faultfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
)

type memFile struct {
	m        *Mem
	n        *node
	name     string
	writable bool
	closed   bool // guarded by m.mu
}

// check returns why the file cannot be used. Caller holds mu.
func (f *memFile) check() error {
	switch {
	case f.m.crashed:
		return ErrCrashed
	case f.closed:
		return fs.ErrClosed
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// alter runs an operation on the file's contents.
func (f *memFile) alter(op Op, apply func(n int64) error, fail func(error)) error {
	op.Name = f.name
	return f.m.do(op, func(n int64) error {
		if f.closed {
			return fs.ErrClosed
		}
		if !f.writable {
			return syscall.EBADF
		}
		return apply(n)
	}, fail)
}

// record makes a change that is not durable yet.
func (f *memFile) record(c change) {
	f.n.own()
	f.n.data = c.apply(f.n.data)
	f.n.changes = append(f.n.changes, c)
}

func (f *memFile) WriteAt(off int64, bufs ...[]byte) (int64, error) {
	all := []byte{}
	for _, b := range bufs {
		all = append(all, b...)
	}
	var wrote int64
	err := f.alter(Op{Kind: "write", node: f.n, Off: off, Len: int64(len(all))}, func(n int64) error {
		room := f.m.capacity - f.m.root.size() + f.n.allocated
		wrote = max(min(n, room-off), 0)
		if wrote > 0 {
			f.record(change{off: off, data: all[:wrote]})
			f.n.allocated = max(f.n.allocated, off+wrote)
		}
		if wrote < n {
			return syscall.ENOSPC
		}
		return nil
	}, nil)
	return wrote, err
}

func (f *memFile) Sync() error {
	return f.alter(Op{Kind: "sync"}, func(int64) error {
		f.n.own()
		for _, c := range f.n.changes {
			f.n.durable = c.apply(f.n.durable)
		}
		f.n.changes = nil
		return nil
	}, func(error) {
		// The pages are marked clean: the next sync does not write them. The sizes are metadata and are kept.
		var kept []change
		for _, c := range f.n.changes {
			if c.data == nil {
				kept = append(kept, c)
			} else if end := c.off + int64(len(c.data)); end > int64(len(f.n.durable)) {
				kept = append(kept, change{off: end})
			}
		}
		f.n.changes = kept
	})
}

func (f *memFile) Forget() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	f.n.data = slices.Clone(f.n.durable)
	for _, c := range f.n.changes {
		f.n.data = c.apply(f.n.data)
	}
	return nil
}

func (f *memFile) Truncate(size int64) error {
	return f.alter(Op{Kind: "truncate", Len: size}, func(int64) error {
		f.record(change{off: size})
		f.n.allocated = min(f.n.allocated, size)
		return nil
	}, nil)
}

func (f *memFile) Preallocate(size int64) error {
	return f.alter(Op{Kind: "preallocate", Len: size}, func(int64) error {
		if size-f.n.allocated > f.m.capacity-f.m.root.size() {
			return syscall.ENOSPC
		}
		if size > int64(len(f.n.data)) {
			f.record(change{off: size})
		}
		f.n.allocated = max(f.n.allocated, size)
		return nil
	}, nil)
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), f.check()
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	err := f.check()
	f.closed = true
	return err
}
