package ingest

import (
	"bytes"
	"errors"
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
	for _, name := range []string{"br", "deflate", "zlib", "lz4", "lzma", "xz", "bzip2", "compress", "x-snappy-framed", "zstandard"} {
		grpcencoding.RegisterCompressor(refusedCodec(name))
	}
}

// acceptedMessageEncodings names the codecs in an answer to a message in another coding.
const acceptedMessageEncodings = "gzip,zstd,snappy,identity"

// refusedCodec is a coding that has a name and is not taken. grpc-go refuses what is not in its registry before any code of ours
// runs, and does not say what is taken; these are left to receiveGRPC, which does.
type refusedCodec string

func (c refusedCodec) Name() string { return string(c) }

func (refusedCodec) Compress(io.Writer) (io.WriteCloser, error) { return nil, errRefusedCodec }

func (refusedCodec) Decompress(io.Reader) (io.Reader, error) { return nil, errRefusedCodec }

var errRefusedCodec = errors.New("the coding is not taken")

// messageCodec returns the codec of a call's grpc-encoding, nil for none.
func (r *receiver) messageCodec(name string) (*codec, *failure) {
	if name == "" || name == grpcencoding.Identity {
		return nil, nil
	}
	if _, taken := grpcencoding.GetCompressor(name).(grpcCodec); taken {
		return r.codecs[name], nil
	}
	return nil, fail(badEncoding, "grpc-encoding %q is not taken; send one of %s", name, acceptedMessageEncodings)
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
