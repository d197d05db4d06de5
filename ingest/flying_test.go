package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
)

// TestNoRequestStaysInFlight hammers a key with requests that end in every way there is: acked, refused, undecodable, too
// large, cancelled or cut in the middle, too slow, panicking. Never are more in flight than the limit, and none at the end.
func TestNoRequestStaysInFlight(t *testing.T) {
	g := start(t, Options{BodyTimeout: 300 * time.Millisecond, MaxBodyBytes: 1 << 20})
	g.server.receiver.codecs["gzip"] = newCodec(func() inflater { return brokenInflater{} }) // panics
	const most = 5
	key := g.limited("acme", tenant.OwnerKey, 1<<30, tenant.Bound{Kind: tenant.InFlightRequests, Max: most})
	ctx, h2, good := within(t), http2Client(t), encode(t, logs(1), protobuf)
	to := "http://" + g.grpc
	post := func(client *http.Client, body io.Reader, encoding string) func(context.Context) {
		return func(ctx context.Context) {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.http+"/v1/logs", body)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = http.Header{"Content-Type": {protoType}, "X-Api-Key": {key}, "Content-Encoding": {encoding}}
			if resp, err := client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}
	}
	call := func(body io.Reader, encoding string) func(context.Context) {
		return func(ctx context.Context) { _, _ = tryGRPC(ctx, h2, to, body, "key", key, "Grpc-Encoding", encoding) }
	}
	// open is a body that begins and does not end before its request does.
	open := func(ctx context.Context, begin []byte) io.Reader {
		r, w := io.Pipe()
		go func() { _, _ = w.Write(begin) }()
		context.AfterFunc(ctx, func() { _ = w.CloseWithError(io.ErrUnexpectedEOF) })
		return r
	}
	cut := func(ctx context.Context, do func(context.Context)) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(30*time.Millisecond))))
		defer cancel()
		do(ctx)
	}
	ends := []func(ctx context.Context){
		func(ctx context.Context) { post(http.DefaultClient, bytes.NewReader(good), "identity")(ctx) },
		func(ctx context.Context) { post(h2, bytes.NewReader(good), "zstd")(ctx) }, // undecodable
		func(ctx context.Context) { post(h2, bytes.NewReader(make([]byte, 2<<20)), "identity")(ctx) },
		func(ctx context.Context) { post(http.DefaultClient, bytes.NewReader(good), "gzip")(ctx) }, // panics
		func(ctx context.Context) { cut(ctx, post(h2, bytes.NewReader(good), "identity")) },
		func(ctx context.Context) {
			cut(ctx, func(ctx context.Context) { post(h2, open(ctx, good), "identity")(ctx) })
		},
		func(ctx context.Context) {
			cut(ctx, func(ctx context.Context) { post(http.DefaultClient, open(ctx, good), "identity")(ctx) })
		},
		func(ctx context.Context) { post(h2, open(ctx, good), "identity")(ctx) }, // too slow
		func(ctx context.Context) { call(bytes.NewReader(prefixed(0, good)), "identity")(ctx) },
		func(ctx context.Context) { call(bytes.NewReader(prefixed(1, good)), "zstd")(ctx) }, // undecodable
		func(ctx context.Context) { call(bytes.NewReader(prefixed(1, good)), "gzip")(ctx) }, // panics
		func(ctx context.Context) { call(bytes.NewReader(good[:20]), "identity")(ctx) },     // ends early
		func(ctx context.Context) { cut(ctx, call(bytes.NewReader(prefixed(0, good)), "identity")) },
		func(ctx context.Context) {
			cut(ctx, func(ctx context.Context) { call(open(ctx, prefixed(0, good)[:30]), "identity")(ctx) })
		},
		func(ctx context.Context) { call(open(ctx, prefixed(0, good)[:30]), "identity")(ctx) }, // too slow
		func(ctx context.Context) { // cut in the middle of the body
			if c, err := net.Dial("tcp", strings.TrimPrefix(g.http, "http://")); err == nil {
				fmt.Fprintf(c, "POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nContent-Type: %s\r\nContent-Length: 90000\r\n\r\n%s", key, protoType, make([]byte, 20_000))
				cut(ctx, func(ctx context.Context) { <-ctx.Done() })
				_ = c.Close()
			}
		},
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 2 * len(ends) {
				one, cancel := context.WithTimeout(ctx, 10*time.Second)
				ends[(w*5+i)%len(ends)](one)
				cancel()
				if n := g.flying(key); n > most {
					t.Errorf("%d are in flight, of at most %d", n, most)
				}
			}
		})
	}
	wg.Wait()
	timetest.Eventually(t, "none is in flight", func() bool { return g.flying(key) == 0 })
	if n := g.metric("headgate_ingest_panics_total"); n == 0 {
		t.Error("none panicked")
	}
	refused := g.metricOf("headgate_ingest_requests_total", map[string]string{"outcome": "limit-in-flight-requests-key"})
	if refused == 0 || g.outcomes("too-slow") == 0 || g.outcomes("too-large") == 0 || g.outcomes("undecodable") == 0 || g.outcomes("client-gone") == 0 {
		t.Errorf("%v were one too many, %v too slow, %v too large, %v undecodable, %v cancelled: want some of each", refused,
			g.outcomes("too-slow"), g.outcomes("too-large"), g.outcomes("undecodable"), g.outcomes("client-gone"))
	}
	timetest.Eventually(t, "requests are taken again", func() bool { // the key pays for what was done in vain
		return callGRPC(t, to, bytes.NewReader(prefixed(0, good)), "key", key).code == codes.OK
	})
}
