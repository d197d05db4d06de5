package faultfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
)

// ErrCrashed is returned by everything after a crash: the process is dead and changes nothing any more.
var ErrCrashed = errors.New("crashed")

// Mem is a file system in memory for tests. It keeps what was synced apart from what was only written, can stop at any
// operation, and then be opened again with any part of the rest lost: see Crash. It is safe for concurrent use. Make
// it with NewMem.
type Mem struct {
	mu       sync.Mutex
	root     *node
	locks    map[string]bool
	ops      int
	stopAt   int // the number of the operation that does not complete
	stopTear int // the bytes of it that are written all the same, if it is a write
	crashed  bool
	torn     func(n int64) error // the write that did not complete
	tornNode *node
	capacity int64
	fault    func(Op) error
}

var _ FS = (*Mem)(nil)

// An Op is an operation that changes something, as a fault function sees it before it happens.
type Op struct {
	N    int    // operations are numbered from 1 on
	Kind string // create, write, sync, truncate, preallocate, rename, remove, mkdir, syncdir
	Name string // of the file or directory; the new one of a rename
	Off  int64  // of a write
	Len  int64  // of a write; the size for truncate and preallocate

	node *node // of a write
}

// NewMem returns an empty file system of unlimited size with the directory "/".
func NewMem() *Mem {
	return &Mem{root: newDir(), locks: map[string]bool{}, capacity: math.MaxInt64}
}

// SetCapacity bounds the bytes that can be allocated. A write beyond it stops where the space ends, with ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Done makes an error for SetFault with which an operation fails although it was carried out.
func Done(err error) error { return done{err} }

type done struct{ error }

func (d done) Unwrap() error { return d.error }

// SetFault makes fn decide about each operation: an error makes it fail without effect, but for a sync, which then
// loses what it should have made durable, as the page cache does: it stays readable and no later sync writes it. See
// Done for the other way to fail. fn may block to make the operation slow, and may call the FS. nil takes it away.
func (m *Mem) SetFault(fn func(Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fn
}

// StopAt makes the n-th operation from now on the last one: of a write, only the first tear bytes happen, of another
// operation nothing (tear 0) or everything. It and all that follow return ErrCrashed.
func (m *Mem) StopAt(n, tear int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopAt, m.stopTear = m.ops+n, tear
}

// Ops returns how many operations there were.
func (m *Mem) Ops() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// Crashed reports whether the operation of StopAt was reached.
func (m *Mem) Crashed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crashed
}

// do runs an operation. apply gets how many bytes of a write happen, and is not called when nothing of it does.
func (m *Mem) do(op Op, apply func(n int64) error, fail func(error)) error {
	m.mu.Lock()
	if m.crashed {
		m.mu.Unlock()
		return ErrCrashed
	}
	m.ops++
	op.N = m.ops
	stop, fault := m.ops == m.stopAt, m.fault
	if stop {
		m.crashed = true
		defer m.mu.Unlock()
		if op.Kind == "write" && m.stopTear == 0 {
			m.torn, m.tornNode = apply, op.node
		}
		if n := min(int64(m.stopTear), op.Len); op.Kind == "write" && n > 0 {
			_ = apply(n)
		} else if op.Kind != "write" && m.stopTear > 0 {
			_ = apply(op.Len)
		}
		return ErrCrashed
	}
	m.mu.Unlock()
	var err error
	if fault != nil {
		err = fault(op)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.crashed:
		return ErrCrashed
	case err == nil:
		err = apply(op.Len)
	case errors.As(err, &done{}):
		_ = apply(op.Len) // it failed anyway
	case fail != nil:
		fail(err)
	}
	if err != nil {
		return &fs.PathError{Op: op.Kind, Path: op.Name, Err: err}
	}
	return nil
}

// A node is a file or a directory: what it is now, what of it is durable, and how the one came from the other.
type node struct {
	children map[string]*node // of a directory
	saved    map[string]*node
	entries  []entryOp

	data      []byte // of a file
	durable   []byte
	changes   []change
	allocated int64
	shared    bool // data and durable belong to another file system too
}

// own makes the contents the node's own, to be changed.
func (n *node) own() {
	if n.shared {
		n.data, n.durable, n.shared = slices.Clone(n.data), slices.Clone(n.durable), false
	}
}

// An entryOp makes, moves or removes a name; a change alters a file. They are kept until the next sync.
type (
	entryOp struct {
		from, to string // "" when there is none
		node     *node
	}
	change struct {
		off  int64
		data []byte // nil: the size becomes off
	}
)

func newDir() *node { return &node{children: map[string]*node{}, saved: map[string]*node{}} }

func (e *entryOp) apply(names map[string]*node) {
	if e.from != "" && names[e.from] == e.node {
		delete(names, e.from)
	}
	if e.to != "" {
		names[e.to] = e.node
	}
}

func (c *change) apply(data []byte) []byte {
	if c.data == nil {
		return resize(data, c.off)
	}
	if end := c.off + int64(len(c.data)); end > int64(len(data)) {
		data = resize(data, end)
	}
	copy(data[c.off:], c.data)
	return data
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// lookup returns the node of a name, nil when there is none. Caller holds mu.
func (m *Mem) lookup(name string) *node {
	name = path.Clean(name)
	if name == "/" || name == "." {
		return m.root
	}
	dir := m.lookup(path.Dir(name))
	if dir == nil {
		return nil
	}
	return dir.children[path.Base(name)]
}

// change makes an entry of the directory of name. Caller holds mu.
func (m *Mem) change(name string, op entryOp) error {
	dir := m.lookup(path.Dir(name))
	if dir == nil || dir.children == nil {
		return fs.ErrNotExist
	}
	op.apply(dir.children)
	dir.entries = append(dir.entries, op)
	return nil
}

// OpenFile opens a file.
func (m *Mem) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	m.mu.Lock()
	n, crashed := m.lookup(name), m.crashed
	m.mu.Unlock()
	var err error
	switch {
	case crashed:
		return nil, ErrCrashed
	case n != nil && n.children != nil:
		err = syscall.EISDIR
	case n != nil && flag&os.O_EXCL != 0:
		err = fs.ErrExist
	case n == nil && flag&os.O_CREATE == 0:
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if n == nil {
		err := m.do(Op{Kind: "create", Name: name}, func(int64) error {
			n = &node{}
			return m.change(name, entryOp{to: path.Base(name), node: n})
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	return &memFile{m: m, n: n, name: name, writable: flag&os.O_RDWR != 0}, nil
}

// ReadDir returns the names in a directory, sorted.
func (m *Mem) ReadDir(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.lookup(dir)
	switch {
	case m.crashed:
		return nil, ErrCrashed
	case n == nil || n.children == nil:
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	var names []string
	for name := range n.children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Mkdir makes one directory.
func (m *Mem) Mkdir(dir string, _ fs.FileMode) error {
	m.mu.Lock()
	exists := m.lookup(dir) != nil
	m.mu.Unlock()
	if exists {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
	}
	return m.do(Op{Kind: "mkdir", Name: dir}, func(int64) error {
		return m.change(dir, entryOp{to: path.Base(dir), node: newDir()})
	}, nil)
}

// Rename gives a file another name in the same directory.
func (m *Mem) Rename(oldName, newName string) error {
	return m.do(Op{Kind: "rename", Name: newName}, func(int64) error {
		n := m.lookup(oldName)
		if n == nil {
			return fs.ErrNotExist
		}
		if path.Dir(oldName) != path.Dir(newName) {
			return syscall.EXDEV
		}
		return m.change(newName, entryOp{from: path.Base(oldName), to: path.Base(newName), node: n})
	}, nil)
}

// Remove removes a file's name. Who has it open keeps it.
func (m *Mem) Remove(name string) error {
	return m.do(Op{Kind: "remove", Name: name}, func(int64) error {
		n := m.lookup(name)
		if n == nil {
			return fs.ErrNotExist
		}
		return m.change(name, entryOp{from: path.Base(name), node: n})
	}, nil)
}

// SyncDir makes the names in a directory durable.
func (m *Mem) SyncDir(dir string) error {
	return m.do(Op{Kind: "syncdir", Name: dir}, func(int64) error {
		n := m.lookup(dir)
		if n == nil || n.children == nil {
			return fs.ErrNotExist
		}
		for _, e := range n.entries {
			e.apply(n.saved)
		}
		n.entries = nil
		return nil
	}, nil)
}

// Lock takes a lock, which is no operation: it leaves no trace.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	switch {
	case m.crashed:
		return nil, ErrCrashed
	case m.locks[name]:
		return nil, &fs.PathError{Op: "lock", Path: name, Err: ErrLocked}
	}
	m.locks[name] = true
	return memLock{m, name}, nil
}

type memLock struct {
	m    *Mem
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// Free returns the bytes that can still be allocated.
func (m *Mem) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crashed {
		return 0, ErrCrashed
	}
	return m.capacity - m.root.size(), nil
}

// size returns what is allocated below n.
func (n *node) size() int64 {
	sum := n.allocated
	for _, c := range n.children {
		sum += c.size()
	}
	return sum
}
