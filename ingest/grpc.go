package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
)

// grpcServices maps the OTLP services to their signals.
var grpcServices = map[string]otlp.Signal{
	"opentelemetry.proto.collector.logs.v1.LogsService":       otlp.Logs,
	"opentelemetry.proto.collector.trace.v1.TraceService":     otlp.Traces,
	"opentelemetry.proto.collector.metrics.v1.MetricsService": otlp.Metrics,

	"opentelemetry.proto.collector.profiles.v1development.ProfilesService": otlp.Profiles, // only with Options.Profiles
}

// newGRPCServer serves the Export methods. Messages stay bytes: no OTLP message is ever built.
func newGRPCServer(r *receiver) *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.InTapHandle(r.tap),
		grpc.Creds(connCredentials{}),
		// SECURITY: also what bounds the handlers of streams that are opened and reset at once.
		grpc.MaxConcurrentStreams(maxStreamsGRPC),
		grpc.MaxHeaderListSize(maxHeaderBytes2),
		grpc.ConnectionTimeout(r.opt.HeaderTimeout),
		// Agents ping every 10 s, also while they have nothing to say; grpc-go's own default would send them away.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: r.opt.minPing, PermitWithoutStream: true}),
		// Age, with the jitter that grpc-go adds, lets clients behind a balancer of connections spread again.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingAfter, Timeout: pingTimeout, MaxConnectionAge: r.opt.MaxConnectionAge, MaxConnectionAgeGrace: time.Minute,
		}),
	)
	for service, sig := range grpcServices {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: service,
			HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{
				MethodName: "Export",
				Handler: func(_ any, ctx context.Context, _ func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
					return r.exportGRPC(ctx, sig)
				},
			}},
		}, r)
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: healthService,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Check",
			Handler: func(_ any, ctx context.Context, _ func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				// The answer would come in the encoding of the call.
				if stream, ok := grpc.ServerTransportStreamFromContext(ctx).(messageStream); ok {
					if _, f := r.messageCodec(stream.RecvCompress()); f != nil {
						return nil, f.send(ctx)
					}
				}
				return serving, nil
			},
		}},
	}, r)
	return s
}

// The health protocol of gRPC, as far as load balancers and Kubernetes' probes use it: they show no key. Whatever service is
// asked for is serving, for else nobody would answer.
const (
	healthService = "grpc.health.v1.Health"
	healthCheck   = "/" + healthService + "/Check"
)

// serving is a HealthCheckResponse with the status SERVING.
var serving = []byte{0x08, 0x01}

// tapped is what the tap found out, carried to the handler of the same call in its context, the only hop that grpc-go
// offers.
type tapped struct {
	principal auth.Principal
	cancel    context.CancelCauseFunc // ends the call's reading
}

type tappedKey struct{}

// tap runs on a call's headers, before its message is read, on the connection's reader goroutine: it must not block.
//
// SECURITY: every call passes here, of unknown services too; each but a health check is authenticated anew, so that a revoked key stops
// on open connections.
func (r *receiver) tap(ctx context.Context, info *tap.Info) (_ context.Context, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = r.panicked(v).grpcError()
		}
	}()
	if info.FullMethodName == healthCheck {
		return ctx, nil
	}
	from := callOrigin(ctx)
	p, f := r.signIn(from, credentials{
		authorization: info.Header.Get("authorization"),
		apiKey:        slices.Concat(info.Header.Get("x-api-key"), info.Header.Get("api-key")),
	})
	if f != nil {
		label := signalUnknown
		if sig, known := signalOfMethod(info.FullMethodName); known {
			label = sig.String()
		}
		r.metrics.refuse(transportGRPC, label, f)
		return nil, f.grpcError()
	}
	r.countAgent(from, strings.Join(info.Header.Get("user-agent"), " "))
	ctx, cancel := context.WithCancelCause(ctx) // ends with its parent, which ends with the call
	return context.WithValue(ctx, tappedKey{}, tapped{p, cancel}), nil
}

// exportGRPC takes one call from its headers to its answer. It does not panic.
func (r *receiver) exportGRPC(ctx context.Context, sig otlp.Signal) (resp any, err error) {
	t, ok := ctx.Value(tappedKey{}).(tapped)
	if !ok {
		return nil, fail(internalFailure, "an internal error happened").grpcError()
	}
	c := call{transportGRPC, sig, t.principal}
	defer func() {
		if v := recover(); v != nil {
			resp, err = nil, r.panicked(v).grpcError()
		}
	}()
	refuse := func(f *failure) (any, error) {
		r.metrics.refuse(transportGRPC, sig.String(), f)
		r.tell(c, f, 0)
		return nil, f.send(ctx)
	}
	if sig == otlp.Profiles && !r.opt.Profiles {
		return refuse(fail(notFound, "%s", profilesOff))
	}
	if f := r.admit(c); f != nil {
		return refuse(f)
	}
	work, f := r.enter(ctx, t.principal.Tenant(), t.principal.KeyID())
	if f != nil {
		return refuse(f)
	}
	defer work.leave()
	if f := work.fly(c); f != nil {
		return refuse(f)
	}
	if f := r.receiveGRPC(ctx, t, sig, work); f != nil {
		return refuse(work.blame(f, 0))
	}
	partial, f := r.export(ctx, c, work)
	warn(work.looksLike, &partial, f)
	if f != nil {
		return nil, work.blame(f, 0).send(ctx)
	}
	partial.remark(work.notice)
	answer, err := encodeResponse(sig, protobuf, partial)
	if err != nil {
		return nil, fail(internalFailure, "an internal error happened").grpcError()
	}
	if work.quota.policy != "" {
		_ = grpc.SetTrailer(ctx, work.quota.trailer()) // fails for no call that is to be answered
	}
	return answer, nil
}

// receiveGRPC reads the one message of a call, paced and held like a body of OTLP/HTTP.
func (r *receiver) receiveGRPC(ctx context.Context, t tapped, sig otlp.Signal, w *work) *failure {
	stream, ok := grpc.ServerTransportStreamFromContext(ctx).(messageStream)
	if !ok {
		return fail(internalFailure, "an internal error happened")
	}
	codec, f := r.messageCodec(stream.RecvCompress())
	if f != nil {
		return f
	}
	timer := time.AfterFunc(r.opt.BodyTimeout, func() { t.cancel(errStalled) })
	defer timer.Stop()
	m := &message{ctx: ctx, stream: stream}
	compressed, err := m.open(r.opt.MaxBodyBytes)
	if err != nil {
		return r.readFailure(err)
	}
	q := form{signal: sig, encoding: protobuf}
	if compressed {
		if q.codec = codec; codec == nil {
			return fail(badEncoding, "the message is compressed, and grpc-encoding does not say how; send one of %s", acceptedMessageEncodings)
		}
	}
	if f := r.receive(ctx, &pacedReader{r: m, start: time.Now(), timeout: r.opt.BodyTimeout, setDeadline: func(at time.Time) error {
		timer.Reset(time.Until(at))
		return nil
	}}, q, w); f != nil {
		return f
	}
	// SECURITY: the client ends its call before work is done for it, so that none keeps its turn by not ending it.
	if err := m.end(); err != nil {
		return r.readFailure(err)
	}
	timer.Stop()
	return r.unpack(ctx, q, w)
}

// send is the failure as a gRPC error. Where clients may retry, the delay goes out a second time as the trailer in which
// OpenTelemetry's Python exporter looks for it. The answer to an encoding that is not taken says which are: in a Trailers-Only
// answer, as every refusal is, that is where headers are.
func (f *failure) send(ctx context.Context) error {
	trailer := f.quota.trailer()
	if f.retryAfter > 0 {
		if raw, err := proto.Marshal(f.retryInfo()); err == nil {
			trailer = metadata.Join(trailer, metadata.Pairs("google.rpc.retryinfo-bin", string(raw)))
		}
	}
	if f.kind == badEncoding {
		trailer = metadata.Join(trailer, metadata.Pairs("grpc-accept-encoding", acceptedMessageEncodings))
	}
	if len(trailer) > 0 {
		_ = grpc.SetTrailer(ctx, trailer)
	}
	return f.grpcError()
}

func (f *failure) grpcError() error { return status.FromProto(f.status()).Err() }

func signalOfMethod(full string) (otlp.Signal, bool) {
	service, ok := strings.CutSuffix(strings.TrimPrefix(full, "/"), "/Export")
	sig, known := grpcServices[service]
	return sig, ok && known
}

// rawCodec writes answers that are bytes already. It names itself "proto", the content-subtype that OTLP clients send.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	body, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("BUG: marshal %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(body)}, nil
}

// Unmarshal is never called: messages are read from the stream, see message.
func (rawCodec) Unmarshal(_ mem.BufferSlice, v any) error { return fmt.Errorf("BUG: unmarshal %T", v) }
