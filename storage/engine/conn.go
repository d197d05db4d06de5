package engine

import (
	"errors"
	"runtime"
	"unsafe"
)

// conn is one connection to the engine in this process: a session with its own settings and current database. It runs
// one statement at a time and is not safe for concurrent use.
type conn struct {
	lib *library
	h   *uintptr
}

// param is a bound query parameter {name:Type}; its value is text in ClickHouse's escaped form.
type param struct{ name, value string }

// stats is what a statement did.
type stats struct {
	readRows, readBytes, writtenRows, writtenBytes, resultRows uint64
}

// open makes a connection. args are "--name=value" and hold for the connection; the first connection of the process boots
// the engine with them. A refused argument has no reason, because the library gives none.
func (l *library) open(args ...string) (*conn, error) {
	argv := make([]*byte, 0, len(args)+2)
	for _, a := range append([]string{"headgate"}, args...) {
		b := append([]byte(a), 0)
		argv = append(argv, &b[0])
	}
	argc := int32(len(argv))
	argv = append(argv, nil)
	h := l.connect(argc, &argv[0])
	runtime.KeepAlive(argv)
	if h == nil || *h == 0 {
		return nil, errors.New("engine refused the connection")
	}
	return &conn{l, h}, nil
}

func (c *conn) close() { c.lib.closeConn(c.h) }

// analyze says how many statements sql holds and of which class. Text that does not parse has no statement.
func (c *conn) analyze(sql string) (statements, class uint32) {
	a := analysis{size: uint32(unsafe.Sizeof(analysis{})), class: classUnknown}
	if c.lib.classify(*c.h, ptr(sql), size(sql), nil, 0, &a) != 0 {
		return 0, classUnknown
	}
	return a.statements, a.class
}

// query runs sql to its end and returns what it put out in the given format, copied. Only statements with small results
// may come here; others go INTO OUTFILE.
func (c *conn) query(sql, format string, params []param) ([]byte, stats, error) {
	p := bindParams(params)
	res := c.lib.query(*c.h, ptr(sql), size(sql), ptr(format), size(format), p.names, p.nameLens, p.values, p.valueLens, p.n)
	runtime.KeepAlive(p)
	defer c.lib.resultDestroy(res)
	if text := c.lib.resultError(res); text != "" {
		return nil, stats{}, parseException(text)
	}
	var out []byte
	if n := c.lib.resultLength(res); n > 0 {
		out = append(out, unsafe.Slice(c.lib.resultBuffer(res), n)...)
	}
	return out, c.lib.stats(res), nil
}

// exec runs a statement without a result.
func (c *conn) exec(sql string) error {
	_, _, err := c.query(sql, "TSV", nil)
	return err
}

// syntaxError returns the engine's exception for a text that does not parse, without running any part of it: the
// streaming interface parses the whole text first and takes nothing but a single SELECT.
func (c *conn) syntaxError(sql string) error {
	const format = "TSV"
	res := c.lib.streamQuery(*c.h, ptr(sql), size(sql), ptr(format), size(format))
	defer c.lib.resultDestroy(res)
	if text := c.lib.resultError(res); text != "" {
		return parseException(text)
	}
	c.lib.streamCancel(*c.h, res)
	return exceptionf(codeSyntaxError, "statement not understood")
}

func (l *library) stats(res uintptr) stats {
	return stats{
		readRows:     l.resultReadRows(res),
		readBytes:    l.resultReadBytes(res),
		writtenRows:  l.resultWrittenRows(res),
		writtenBytes: l.resultWrittenBytes(res),
		resultRows:   l.resultRows(res),
	}
}

// inserter is an INSERT under way whose data are pushed in pieces. The engine queues at most 16 pieces; append blocks
// while they are full. Exactly one of done and cancel ends it.
type inserter struct {
	lib    *library
	stream uintptr
}

// insert begins an INSERT: sql up to, not including, FORMAT or VALUES.
func (c *conn) insert(sql, format string, params []param) (*inserter, error) {
	p := bindParams(params)
	s := c.lib.insert(*c.h, ptr(sql), size(sql), ptr(format), size(format), p.names, p.nameLens, p.values, p.valueLens, p.n)
	runtime.KeepAlive(p)
	if text := c.lib.insertError(s); text != "" {
		c.lib.insertDestroy(s)
		return nil, parseException(text)
	}
	return &inserter{c.lib, s}, nil
}

// append pushes data, which the engine copies. False says that the INSERT has failed; done knows why.
func (i *inserter) append(data []byte) bool {
	return i.lib.insertAppend(i.stream, unsafe.SliceData(data), uintptr(len(data))) == 0
}

// done ends the data and waits until the INSERT is committed.
func (i *inserter) done() (stats, error) {
	res := i.lib.insertDone(i.stream)
	defer i.lib.insertDestroy(i.stream)
	defer i.lib.resultDestroy(res)
	if text := i.lib.resultError(res); text != "" {
		return stats{}, parseException(text)
	}
	return i.lib.stats(res), nil
}

// cancel drops the INSERT. Blocks that the engine has written already stay, as everywhere in ClickHouse.
func (i *inserter) cancel() {
	i.lib.insertCancel(i.stream)
	i.lib.insertDestroy(i.stream)
}

// boundParams are parameters laid out for C.
type boundParams struct {
	names, values       **byte
	nameLens, valueLens *uintptr
	n                   uintptr
}

func bindParams(params []param) *boundParams {
	if len(params) == 0 {
		return new(boundParams)
	}
	n := len(params)
	ptrs, lens := make([]*byte, 2*n), make([]uintptr, 2*n)
	for i, p := range params {
		ptrs[i], lens[i] = ptr(p.name), size(p.name)
		ptrs[n+i], lens[n+i] = ptr(p.value), size(p.value)
	}
	return &boundParams{&ptrs[0], &ptrs[n], &lens[0], &lens[n], uintptr(n)}
}

var empty byte

// ptr is the address of s's bytes, never nil. The bytes are not NUL-terminated.
func ptr(s string) *byte {
	if s == "" {
		return &empty
	}
	return unsafe.StringData(s)
}

func size(s string) uintptr { return uintptr(len(s)) }
