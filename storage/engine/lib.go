package engine

import (
	"fmt"
	"os"
	"sync"

	"github.com/ebitengine/purego"
)

// library is libchdb bound into this process: ClickHouse behind a C interface, reached without cgo. There is at most
// one per process and it is never unloaded, because its threads outlive any handle. Its functions block the calling
// thread for as long as the statement runs; each is safe for concurrent use on different connections.
//
// Pointers into Go memory are handed over for the length of one call only; the engine copies what it keeps. The
// signatures are those of chdb.h.
type library struct {
	version           func() string
	setSignalHandlers func(enabled int32)
	shutdown          func() int32

	connect   func(argc int32, argv **byte) *uintptr
	closeConn func(conn *uintptr)
	classify  func(conn uintptr, sql *byte, sqlLen uintptr, database *byte, databaseLen uintptr, out *analysis) int32

	query func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr,
		names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, n uintptr) uintptr
	streamQuery  func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr) uintptr
	streamCancel func(conn, stream uintptr)

	insert func(conn uintptr, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr,
		names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, n uintptr) uintptr
	insertAppend  func(stream uintptr, data *byte, n uintptr) int32
	insertDone    func(stream uintptr) uintptr
	insertCancel  func(stream uintptr)
	insertError   func(stream uintptr) string
	insertDestroy func(stream uintptr)

	resultBuffer       func(result uintptr) *byte
	resultLength       func(result uintptr) uintptr
	resultError        func(result uintptr) string
	resultRows         func(result uintptr) uint64
	resultReadRows     func(result uintptr) uint64
	resultReadBytes    func(result uintptr) uint64
	resultWrittenRows  func(result uintptr) uint64
	resultWrittenBytes func(result uintptr) uint64
	resultDestroy      func(result uintptr)
}

// analysis is chdb_query_analysis_v1: what ClickHouse's own parser says about a text. size is set by the caller.
type analysis struct {
	size, statements, _, class uint32
}

// The classes of a text, chdb_query_class: that of its most far-reaching statement. Text that does not parse is unknown.
const (
	classReadOnly = 0
	classUnknown  = 4
)

var loadOnce = struct {
	sync.Once
	lib *library
	err error
}{}

// load binds the library at path. A process can hold one engine only, so the first call decides and later calls
// answer the same. It fails with ErrLibraryMissing or ErrLibraryVersion.
func load(path string) (*library, error) {
	loadOnce.Do(func() { loadOnce.lib, loadOnce.err = bind(path) })
	return loadOnce.lib, loadOnce.err
}

func bind(path string) (*library, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLibraryMissing, err)
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be loaded: %w", ErrLibraryVersion, path, err)
	}
	l := new(library)
	for name, fn := range l.symbols() {
		sym, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("%w: %s has no symbol %s", ErrLibraryVersion, path, name)
		}
		purego.RegisterFunc(fn, sym)
	}
	if v := l.version(); v != wantLibrary {
		return nil, fmt.Errorf("%w: %s is libchdb %s, want %s", ErrLibraryVersion, path, v, wantLibrary)
	}
	return l, nil
}

func (l *library) symbols() map[string]any {
	return map[string]any{
		"chdb_version":                     &l.version,
		"chdb_set_signal_handlers_enabled": &l.setSignalHandlers,
		"chdb_shutdown":                    &l.shutdown,
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_classify_query_n":            &l.classify,
		"chdb_query_with_params_n":         &l.query,
		"chdb_stream_query_n":              &l.streamQuery,
		"chdb_stream_cancel_query":         &l.streamCancel,
		"chdb_stream_insert_with_params_n": &l.insert,
		"chdb_stream_append":               &l.insertAppend,
		"chdb_stream_done":                 &l.insertDone,
		"chdb_stream_cancel_insert":        &l.insertCancel,
		"chdb_stream_insert_error":         &l.insertError,
		"chdb_destroy_insert_stream":       &l.insertDestroy,
		"chdb_result_buffer":               &l.resultBuffer,
		"chdb_result_length":               &l.resultLength,
		"chdb_result_error":                &l.resultError,
		"chdb_result_rows_read":            &l.resultRows,
		"chdb_result_storage_rows_read":    &l.resultReadRows,
		"chdb_result_storage_bytes_read":   &l.resultReadBytes,
		"chdb_result_rows_written":         &l.resultWrittenRows,
		"chdb_result_bytes_written":        &l.resultWrittenBytes,
		"chdb_destroy_query_result":        &l.resultDestroy,
	}
}
