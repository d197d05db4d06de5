package ingest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // every default collector and Java SDK compresses with gzip
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
)

// grpcServices maps the OTLP services to their signals.
var grpcServices = map[string]otlp.Signal{
	"opentelemetry.proto.collector.logs.v1.LogsService":       otlp.Logs,
	"opentelemetry.proto.collector.trace.v1.TraceService":     otlp.Traces,
	"opentelemetry.proto.collector.metrics.v1.MetricsService": otlp.Metrics,
}

// newGRPCServer serves the three Export methods. Messages stay bytes: no OTLP message is ever built.
func newGRPCServer(r *receiver) *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.InTapHandle(r.tap),
		// Also after decompression; grpc-go answers RESOURCE_EXHAUSTED without RetryInfo, which is what OTLP asks.
		grpc.MaxRecvMsgSize(int(r.opt.MaxBodyBytes)),
		grpc.MaxConcurrentStreams(1024),
		grpc.MaxHeaderListSize(64<<10),
		grpc.ConnectionTimeout(20*time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Minute, Timeout: 20 * time.Second}),
	)
	for service, sig := range grpcServices {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: service,
			HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return r.exportGRPC(ctx, sig, dec)
				},
			}},
		}, r)
	}
	return s
}

// principalKey carries the principal from the tap to the handler of the same call, the only hop that grpc-go offers.
type principalKey struct{}

// tap runs on a call's headers, before its message is read, on the connection's reader goroutine: it must not block.
//
// SECURITY: every call passes here, of unknown services too; each is authenticated anew, so that a revoked key stops
// on open connections.
func (r *receiver) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	sig, known := signalOfMethod(info.FullMethodName)
	p, f := r.authenticate(credentials{
		authorization: info.Header.Get("authorization"),
		apiKey:        info.Header.Get("x-api-key"),
	})
	if f == nil && known {
		f = r.admit(call{transportGRPC, sig, p})
	}
	if f != nil {
		label := signalUnknown
		if known {
			label = sig.String()
		}
		r.metrics.refuse(transportGRPC, label, f)
		return nil, f.grpcError()
	}
	return context.WithValue(ctx, principalKey{}, p), nil
}

func (r *receiver) exportGRPC(ctx context.Context, sig otlp.Signal, dec func(any) error) (_ any, err error) {
	var msg rawMessage
	if err := dec(&msg); err != nil {
		return nil, err // grpc-go's own: too large, unknown compression, connection lost
	}
	defer msg.Free()
	p, ok := ctx.Value(principalKey{}).(auth.Principal)
	if !ok {
		return nil, fail(internalFailure, "an internal error happened").grpcError()
	}
	partial, f := r.export(ctx, call{transportGRPC, sig, p}, msg.ReadOnlyData())
	if f != nil {
		return nil, f.grpcError()
	}
	body, err := encodeResponse(sig, protobuf, partial)
	if err != nil {
		return nil, fail(internalFailure, "an internal error happened").grpcError()
	}
	return body, nil
}

func (f *failure) grpcError() error { return status.FromProto(f.status()).Err() }

func signalOfMethod(full string) (otlp.Signal, bool) {
	service, ok := strings.CutSuffix(strings.TrimPrefix(full, "/"), "/Export")
	sig, known := grpcServices[service]
	return sig, ok && known
}

// rawMessage is a received message as bytes; Free gives its memory back to grpc-go.
type rawMessage struct{ mem.Buffer }

// rawCodec hands messages through undecoded. It names itself "proto", the content-subtype that OTLP clients send.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	body, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("BUG: marshal %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(body)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	msg, ok := v.(*rawMessage)
	if !ok {
		return fmt.Errorf("BUG: unmarshal into %T", v)
	}
	msg.Buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// serveGRPC serves until ctx ends, then lets calls finish within the grace period.
func (s *Server) serveGRPC(ctx context.Context, l net.Listener) error {
	srv := newGRPCServer(s.receiver)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve otlp grpc: %w", err)
	case <-ctx.Done():
	}
	timer := time.AfterFunc(s.receiver.opt.Grace, srv.Stop)
	defer timer.Stop()
	srv.GracefulStop()
	<-served
	return nil
}
