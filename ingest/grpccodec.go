package ingest

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	grpcencoding "google.golang.org/grpc/encoding"
)

// grpc-go finds compressors in a registry of the process.
func init() {
	for _, c := range []grpcCodec{
		{"gzip", newGzip, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }},
		{"zstd", newZstd, func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		}},
		{"snappy", newSnappyFramed, func(w io.Writer) (io.WriteCloser, error) {
			return s2.NewWriter(w, s2.WriterSnappyCompat(), s2.WriterConcurrency(1)), nil
		}},
	} {
		grpcencoding.RegisterCompressor(c)
	}
}

// grpcCodec is a codec in the form that grpc-go wants. It compresses too: grpc-go answers in the coding of the request.
type grpcCodec struct {
	name     string
	inflater func() inflater
	compress func(io.Writer) (io.WriteCloser, error)
}

func (g grpcCodec) Name() string { return g.name }

func (g grpcCodec) Compress(w io.Writer) (io.WriteCloser, error) { return g.compress(w) }

// Decompress is for answers, where this process is a client. The server reads its messages itself, see message.
func (g grpcCodec) Decompress(r io.Reader) (io.Reader, error) {
	packed, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	in := g.inflater()
	return in, in.Reset(bytes.NewReader(packed))
}
