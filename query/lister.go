package query

import (
	"bytes"
	"errors"
	"io"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// isTooMany reports whether err says that a statement would read more than it may, as ClickHouse finds by the index.
func isTooMany(err error) bool {
	var ex *clickhouse.Exception
	return errors.As(err, &ex) && (ex.Code == 158 || ex.Code == 307 || ex.Code == 396)
}

// earlyShare is the part of what a query may read that a window may read which others can follow. So a list that goes through
// all its windows reads a fifth more than one statement may, at most.
const earlyShare = 16

// stream asks for st: a list whose range has much to read window by window, anything else at once.
func (r *Reader) stream(st Stmt, limits Limits, ask func(Stmt, map[string]any) (io.ReadCloser, error)) (io.ReadCloser, error) {
	if st.list == nil {
		return ask(st, nil)
	}
	small := st.list.small
	if r.small > 0 {
		small = r.small
	}
	if limits.MaxRowsToRead <= small {
		return ask(st, nil)
	}
	stream, err := ask(st, map[string]any{"max_rows_to_read": small})
	if !isTooMany(err) {
		return stream, err
	}
	l := newLister(st.list, func(st Stmt, last bool) (io.ReadCloser, error) {
		if last {
			return ask(st, nil)
		}
		return ask(st, map[string]any{"max_rows_to_read": limits.MaxRowsToRead / earlyShare, "max_bytes_to_read": max(1, limits.MaxBytesToRead/earlyShare)})
	})
	if err := l.hold(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// maxHeldBytes bounds the rows of a list that are held until its last window is asked, so that a failure comes before them.
const maxHeldBytes = 1 << 20

// lister is the stream of a list that is asked window by window: the rows that the one statement would have sent. Those of one
// time are all in one window.
type lister struct {
	list    *listing
	windows *windows
	ask     func(st Stmt, last bool) (io.ReadCloser, error) // runs a statement
	stream  io.ReadCloser                                   // of a window; nil before and after each
	rows    int                                             // that came
	inside  bool                                            // of a row, whose end has not come
	held    bytes.Buffer                                    // what came and was not read
}

func newLister(l *listing, ask func(st Stmt, last bool) (io.ReadCloser, error)) *lister {
	w := newWindows(l.from, l.until, l.rows)
	w.oldest = l.oldest
	return &lister{list: l, windows: w, ask: ask}
}

// hold reads ahead until the last window is asked or there is enough to hold.
func (l *lister) hold() error {
	for chunk := make([]byte, lineBufferBytes); l.held.Len() < maxHeldBytes; {
		n, err := l.next(chunk)
		l.held.Write(chunk[:n])
		if errors.Is(err, io.EOF) || err == nil && l.windows.last() {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) Read(p []byte) (int, error) {
	if l.held.Len() > 0 {
		return l.held.Read(p)
	}
	return l.next(p)
}

// next reads on in the window, or in the next one.
func (l *lister) next(p []byte) (int, error) {
	for {
		if l.stream == nil {
			if err := l.open(); err != nil {
				return 0, err
			}
		}
		n, err := l.stream.Read(p)
		if n > 0 {
			l.rows += bytes.Count(p[:n], []byte{'\n'})
			l.inside = p[n-1] != '\n'
		}
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if l.inside {
			return n, io.ErrUnexpectedEOF
		}
		l.close()
		if n > 0 {
			return n, nil
		}
	}
}

// open asks for the next window. It returns io.EOF when there is none.
func (l *lister) open() error {
	for {
		from, until, ok := l.windows.next(l.rows)
		if !ok {
			return io.EOF
		}
		st, err := l.list.window(from, until, l.list.rows-l.rows)
		if err != nil {
			return err
		}
		l.stream, err = l.ask(st, l.windows.last())
		if err == nil || l.windows.last() || !isTooMany(err) {
			return err
		}
		// More than one window may read: the whole rest is asked under the limits of a query.
		l.windows.back(from, until)
	}
}

func (l *lister) close() {
	if l.stream != nil {
		_ = l.stream.Close()
		l.stream = nil
	}
}

// Close ends the window that is read.
func (l *lister) Close() error {
	l.close()
	return nil
}
