package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// execution is one request being run: its connection lives as long as it does.
type execution struct {
	*server
	who    identity
	q      *request
	out    *output
	began  time.Time
	conn   *conn
	number uint64     // of the connection, to the killer
	failed *exception // set by run; answered by the caller
}

const (
	insertPieceBytes = 256 << 10 // the engine queues 16 of them
	resultPieceBytes = 256 << 10
	pipeBytes        = 1 << 20
)

// run executes the request. What went wrong is in x.failed.
func (x *execution) run(ctx context.Context, w http.ResponseWriter) {
	if err := x.statement(ctx, w); err != nil {
		x.failed = asException(err)
	}
}

func (x *execution) statement(ctx context.Context, w http.ResponseWriter) error {
	text, data, err := x.read()
	if err != nil {
		return err
	}
	if hello, err := x.hello(x.q, text); hello != nil || err != nil {
		return x.answer(hello, stats{}, err)
	}
	x.number = x.killer.number()
	if x.conn, err = x.connect(); err != nil {
		return err
	}
	defer x.conn.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer x.killer.watch(ctx, x.number)()

	if ins, ok := splitInsert(text); ok && x.who == writer {
		return x.insert(ins, io.MultiReader(strings.NewReader(text[ins.data:]), data))
	}
	rest, err := readAll(data, maxStatementBytes-int64(len(text)))
	if err != nil {
		return err
	}
	text += string(rest)
	statements, class := x.conn.analyze(text)
	switch {
	case statements == 0:
		return x.conn.syntaxError(text)
	case statements > 1:
		return exceptionf(codeSyntaxError, "Syntax error: Multi-statements are not allowed")
	case x.who != writer && !readerMay(text):
		return exceptionf(codeReadOnly, "%s: Cannot execute query in readonly mode", ReaderUser)
	case class == classReadOnly:
		return x.query(w, cancel, text)
	case x.who != writer:
		// SECURITY: readonly=1 alone lets KILL QUERY, USE and SET of some settings pass.
		return exceptionf(codeReadOnly, "%s: Cannot execute query in readonly mode", ReaderUser)
	}
	out, st, err := x.conn.query(text, x.q.format, x.q.params)
	return x.answer(out, st, err)
}

// read returns the text of the statement, as far as it must be known to judge it, and what follows it in the body.
func (x *execution) read() (text string, data io.Reader, err error) {
	if x.q.text != "" {
		if _, ok := splitInsert(x.q.text); ok {
			return x.q.text, x.q.body, nil
		}
	}
	head := make([]byte, 64<<10)
	n, err := fill(x.q.body, head)
	if err != nil && err != io.EOF {
		return "", nil, bodyError(err)
	}
	text = string(head[:n])
	if x.q.text != "" && n > 0 {
		text = x.q.text + "\n" + text
	} else if n == 0 {
		text = x.q.text
	}
	return text, x.q.body, nil
}

// connect opens a connection with the request's database and settings.
//
// SECURITY: the settings of the request are set before readonly, in one SET, so that nothing the statement says can lift
// or change them. Known limits of readonly=1 in ClickHouse: the scalar function file() still reads any file this process
// can read, and a SETTINGS clause in a subquery passes in this version. readerMay refuses texts that have either.
func (x *execution) connect() (*conn, error) {
	if ro := x.q.readOnly; x.who != writer && ro != "" && ro != "1" {
		return nil, exceptionf(codeReadOnly, "%s: Cannot modify 'readonly' setting in readonly mode", ReaderUser)
	}
	args := x.opts.connArgs()
	if x.who == writer {
		// SECURITY: here and nowhere else the writer gets what opens every row; the reader's connections never have it.
		args = x.opts.ownArgs()
	}
	c, err := x.lib.open(append(args, killArg(x.number))...)
	if err != nil {
		return nil, err
	}
	if db := x.q.database; db != "" && db != "default" {
		err = c.exec("USE " + quoteName(db))
	}
	if set := x.q.setStatement(x.who != writer); set != "" && err == nil {
		err = c.exec(set)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// insert streams data into an INSERT. A body that breaks off cancels it: half a body is never taken for a whole one.
func (x *execution) insert(parts insertParts, data io.Reader) error {
	ins, err := x.conn.insert(parts.head, parts.format, x.q.params)
	if err != nil {
		return err
	}
	buf := make([]byte, insertPieceBytes)
	for {
		n, readErr := fill(data, buf)
		if readErr != nil && readErr != io.EOF {
			ins.cancel()
			return bodyError(readErr)
		}
		if n > 0 && !ins.append(buf[:n]) || readErr == io.EOF {
			break
		}
	}
	st, err := ins.done()
	return x.answer(nil, st, err)
}

// query runs a read-only statement. Its result goes through a pipe that the engine takes for an output file: of all ways
// out of the library this one alone streams every format as one document.
func (x *execution) query(w http.ResponseWriter, cancel context.CancelFunc, text string) error {
	parts := splitQuery(text)
	if parts.format == "" {
		parts.format, parts.tail = x.q.format, "FORMAT "+x.q.format
	}
	r, wr, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("result pipe: %w", err)
	}
	defer r.Close()
	_, _ = unix.FcntlInt(wr.Fd(), unix.F_SETPIPE_SZ, pipeBytes) // the default size is as right, only slower
	w.Header().Set("X-ClickHouse-Format", parts.format)
	w.Header().Set("Content-Type", contentType(parts.format))

	var copying sync.WaitGroup
	var sendErr error
	copying.Go(func() { sendErr = x.copyResult(r, cancel) })
	sql := fmt.Sprintf("%s\nINTO OUTFILE '/proc/self/fd/%d' APPEND %s", parts.head, wr.Fd(), parts.tail)
	_, st, err := x.conn.query(sql, parts.format, x.q.params)
	wr.Close()
	copying.Wait()
	switch {
	case err != nil:
		return err
	case sendErr != nil:
		return sendErr
	}
	return x.out.finish(st, time.Since(x.began))
}

// copyResult moves the result to the client. When the client is gone it cancels the statement and swallows the rest.
func (x *execution) copyResult(r io.Reader, cancel context.CancelFunc) error {
	buf := make([]byte, resultPieceBytes)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := x.out.Write(buf[:n]); err != nil {
				cancel()
				_, _ = io.Copy(io.Discard, r)
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			cancel()
			return fmt.Errorf("result pipe: %w", err)
		}
	}
}

// answer sends a small result.
func (x *execution) answer(result []byte, st stats, err error) error {
	if err != nil {
		return err
	}
	if _, err := x.out.Write(result); err != nil {
		return err
	}
	return x.out.finish(st, time.Since(x.began))
}

func contentType(format string) string {
	switch {
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(format, "CSV"):
		return "text/csv; charset=UTF-8"
	case strings.HasPrefix(format, "T"):
		return "text/tab-separated-values; charset=UTF-8"
	}
	return "application/octet-stream"
}
