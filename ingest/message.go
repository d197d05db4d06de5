package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"google.golang.org/grpc/mem"
)

// messageStream is what grpc-go's transport stream offers beyond grpc.ServerTransportStream. grpc-go's own RecvMsg reads
// and decompresses a whole message before anybody can count it; this reads it piece by piece.
type messageStream interface {
	ReadMessageHeader([]byte) error
	Read(n int) (mem.BufferSlice, error)
	RecvCompress() string
}

// message reads the one message of a unary call.
type message struct {
	ctx     context.Context
	stream  messageStream
	left    int // bytes of the message that are still to be asked for
	pending *mem.Reader
}

// readStep is how much is asked of the transport at once: a stream's first window, so that what waits here uncounted is
// not more than what the transport takes anyway.
const readStep = 64 << 10

// errStalled is why a call's reading was ended by its timer.
var errStalled = errors.New("no progress")

// open reads the message's prefix (gRPC over HTTP/2, "Length-Prefixed-Message").
func (m *message) open(maxBytes int64) (compressed bool, err error) {
	var prefix [5]byte
	if err := m.stream.ReadMessageHeader(prefix[:]); err != nil {
		return false, m.cause(err)
	}
	n := binary.BigEndian.Uint32(prefix[1:])
	if int64(n) > maxBytes {
		return false, errTooLarge
	}
	m.left = int(n)
	return prefix[0]&1 == 1, nil
}

// Read reads the message's bytes.
func (m *message) Read(p []byte) (int, error) {
	for {
		if m.pending != nil {
			n, err := m.pending.Read(p)
			if err == nil {
				return n, nil
			}
			_ = m.pending.Close() // gives the buffers back
			m.pending = nil
		}
		if m.left == 0 {
			return 0, io.EOF
		}
		n := min(m.left, readStep)
		data, err := m.stream.Read(n)
		if err != nil {
			return 0, m.cause(err)
		}
		m.left -= n
		m.pending = data.Reader() // has references of its own
		data.Free()
	}
}

// end waits for the client to have nothing more to say.
func (m *message) end() error {
	var prefix [5]byte
	switch err := m.stream.ReadMessageHeader(prefix[:]); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return m.cause(err)
	}
	return errors.New("a second message in a unary call")
}

// cause tells a body's failures apart as they are told for OTLP/HTTP.
func (m *message) cause(err error) error {
	switch {
	case errors.Is(context.Cause(m.ctx), errStalled):
		return os.ErrDeadlineExceeded
	case m.ctx.Err() != nil:
		return errClientGone
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}
