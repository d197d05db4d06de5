package ingest

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// kinds is the table of refusals, each with whether a client may send the same request again without a delay being named.
var kinds = []struct {
	kind
	retry bool
}{
	{unauthenticated, false}, {forbidden, false}, {badOrigin, false}, {notFound, false}, {badMethod, false}, {badContentType, false},
	{badEncoding, false}, {undecodable, false}, {headersTooLarge, false}, {tooLarge, false}, {tooManyRecords, false}, {internalFailure, false},
	{tooSlow, true}, {overloaded, true}, {unavailable, true},
	{limitReached, false}, // only with a delay
	{clientGone, false},   // nobody is there to read it
}

// TestS9RefusalsMeanTheSameOnBothTransports: who may retry over gRPC (S6, S7) may over HTTP (H21), and nobody else. What is
// to be retried is 503 rather than 429 (S11), and never 500, INTERNAL or UNKNOWN (S8).
func TestS9RefusalsMeanTheSameOnBothTransports(t *testing.T) {
	again := []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss}
	for _, k := range kinds {
		overHTTP := slices.Contains([]int{429, 502, 503, 504}, k.http)
		overGRPC := slices.Contains(again, k.grpc)
		switch {
		case k.kind == limitReached: // RESOURCE_EXHAUSTED is for RetryInfo to decide, and 429 for Retry-After
			if k.http != 429 || k.grpc != codes.ResourceExhausted {
				t.Errorf("%s: %d, %v", k.id, k.http, k.grpc)
			}
		case k.kind == clientGone:
		case overHTTP != k.retry || overGRPC != k.retry:
			t.Errorf("%s may be retried over HTTP: %v, over gRPC: %v, want %v", k.id, overHTTP, overGRPC, k.retry)
		}
		if k.retry && k.http != http.StatusServiceUnavailable || k.grpc == codes.Unknown || k.retry && k.grpc == codes.Internal {
			t.Errorf("%s: %d, %v", k.id, k.http, k.grpc)
		}
		// The codes that have one meaning in both.
		if want, ok := map[codes.Code]int{codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.Unavailable: 503, codes.DeadlineExceeded: 503, codes.Internal: 500}[k.grpc]; ok && k.http != want {
			t.Errorf("%s: %v is %d, want %d", k.id, k.grpc, k.http, want)
		}
	}
}

// TestS10DelaysAreShortAndSpread: one to three seconds, so that clients with ten seconds in all do come back, and not all at
// once after an outage (O4).
func TestS10DelaysAreShortAndSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		f := retryable(overloaded, "x")
		if f.retryAfter < time.Second || f.retryAfter > 3*time.Second {
			t.Fatalf("a delay of %v", f.retryAfter)
		}
		seen[f.retryAfter.Truncate(100*time.Millisecond)] = true
	}
	if len(seen) < 15 {
		t.Errorf("1000 delays fall into %d tenths of seconds", len(seen))
	}
}

// TestH23RetryAfterIsRoundedUp to whole seconds, never to 0, and says no less than RetryInfo does.
func TestH23RetryAfterIsRoundedUp(t *testing.T) {
	for after, want := range map[time.Duration]int{time.Nanosecond: 1, time.Second: 1, time.Second + 1: 2, 2500 * time.Millisecond: 3, 20 * time.Hour: 72_000} {
		f := fail(overloaded, "x").after(after)
		if got := f.retrySeconds(); got != want {
			t.Errorf("%v is %d s, want %d", after, got, want)
		}
		for _, d := range status.FromProto(f.status()).Details() {
			if info, ok := d.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() != after {
				t.Errorf("%v is %v in RetryInfo", after, info.GetRetryDelay().AsDuration())
			}
		}
	}
}

// TestG11StreamsAreBounded: both ports announce how many streams a connection may have.
func TestG11StreamsAreBounded(t *testing.T) {
	g := start(t, Options{})
	for addr, want := range map[string]uint32{g.grpc: 1024, g.http: 100} {
		c := dialRaw(t, addr)
		fmt.Fprint(c, http2.ClientPreface)
		framer := http2.NewFramer(c, c)
		if err := framer.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		f, err := framer.ReadFrame()
		settings, ok := f.(*http2.SettingsFrame)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", addr, f, err)
		}
		if n, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || n != want {
			t.Errorf("%s: %d streams (%v), want %d", addr, n, ok, want)
		}
	}
}

// TestH24IdleConnectionsOutliveTheirClients: Go's client gives an idle connection up after 90 s, some balancers after 60.
// Who closes first resets requests on their way.
func TestH24IdleConnectionsOutliveTheirClients(t *testing.T) {
	one, two := newHTTP1Server(&receiver{}), newHTTP2Server(&receiver{})
	if one.IdleTimeout < 2*time.Minute || two.IdleTimeout < 2*time.Minute {
		t.Errorf("idle connections end after %v, %v", one.IdleTimeout, two.IdleTimeout)
	}
}
