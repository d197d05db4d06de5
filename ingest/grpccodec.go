package ingest

import (
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	grpcencoding "google.golang.org/grpc/encoding"
)

// grpc-go finds compressors in a registry of the process. It reads from a decompressor one byte more than
// MaxRecvMsgSize at most, so that what they put out is bounded while it is produced.
func init() {
	for _, c := range []grpcCodec{
		{"gzip", newCodec(newGzip), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }},
		{"zstd", newCodec(newZstd), func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		}},
		{"snappy", newCodec(newSnappyFramed), func(w io.Writer) (io.WriteCloser, error) {
			return s2.NewWriter(w, s2.WriterSnappyCompat(), s2.WriterConcurrency(1)), nil
		}},
	} {
		grpcencoding.RegisterCompressor(c)
	}
}

// grpcCodec is a codec in the form that grpc-go wants. It compresses too: grpc-go answers in the coding of the request.
type grpcCodec struct {
	name     string
	codec    *codec
	compress func(io.Writer) (io.WriteCloser, error)
}

func (g grpcCodec) Name() string { return g.name }

func (g grpcCodec) Compress(w io.Writer) (io.WriteCloser, error) { return g.compress(w) }

// Decompress returns a reader whose Close grpc-go calls after the message.
func (g grpcCodec) Decompress(r io.Reader) (io.Reader, error) { return g.codec.open(r) }
