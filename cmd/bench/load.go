package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// client sends OTLP/gRPC requests of one signal over a few connections. Their bodies are made beforehand, so that making
// them costs nothing while the clock runs.
type client struct {
	ctx     context.Context
	method  string
	conns   []*grpc.ClientConn
	bodies  [][]byte
	records int // of each
	next    atomic.Int64
}

func newClient(ctx context.Context, addr, key string, sig signal, records int) (*client, error) {
	c := &client{ctx: metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key), method: sig.method, records: records}
	for range 16 {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		if err != nil {
			c.close()
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	for i := range max(4, 40_000/records) {
		c.bodies = append(c.bodies, sig.generate(uint64(i), records))
	}
	return c, nil
}

func (c *client) close() {
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// sent is what came of a load.
type sent struct {
	acks           []time.Duration // how long each took, sorted
	took           time.Duration
	records, bytes int64
	refused        int64 // answers that asked for another try, which was made
}

// at is a quantile of the acks' times.
func (s sent) at(q float64) time.Duration { return quantile(s.acks, q) }

// quantile returns one of sorted times, 0 if there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// millis is a duration in milliseconds, for tables.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// run sends until more is false, from several senders, as fast as they get acks, or at rate requests/s. A request that is
// due while all senders are busy waits, and its waiting is part of its time. Each ack of a whole request counts; another
// answer than a request to come again ends the run.
func (c *client) run(senders int, rate float64, more func() bool) (sent, error) {
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	var refused, bytes atomic.Int64
	perSender := make([][]time.Duration, senders)
	begin, first := time.Now(), c.next.Load()
	for i := range senders {
		wg.Go(func() {
			for failed.Load() == nil {
				n := c.next.Add(1)
				due := time.Now()
				if rate > 0 {
					due = begin.Add(time.Duration(float64(n-first) / rate * 1e9))
					time.Sleep(time.Until(due))
				}
				if !more() {
					return
				}
				body := c.bodies[n%int64(len(c.bodies))]
				again, err := c.send(c.conns[i%len(c.conns)], body, n)
				if err != nil {
					failed.Store(&err)
					return
				}
				refused.Add(again)
				bytes.Add(int64(len(body)))
				perSender[i] = append(perSender[i], time.Since(due))
			}
		})
	}
	wg.Wait()
	s := sent{acks: slices.Concat(perSender...), took: time.Since(begin), bytes: bytes.Load(), refused: refused.Load()}
	slices.Sort(s.acks)
	s.records = int64(len(s.acks) * c.records)
	if err := failed.Load(); err != nil {
		return s, *err
	}
	return s, nil
}

// lasting is for run: so long.
func lasting(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().Before(end) }
}

// send sends a request until it is acked, as agents do: after each refusal that asks for it, with the delay it asks for.
func (c *client) send(conn *grpc.ClientConn, body []byte, n int64) (refused int64, err error) {
	for {
		var reply []byte
		err := conn.Invoke(c.ctx, c.method, unique(body, n), &reply)
		switch {
		case err == nil && len(reply) > len(emptyPartial):
			return refused, errors.New("a request was accepted only in part")
		case status.Code(err) != codes.Unavailable:
			return refused, err
		}
		refused++
		time.Sleep(retryDelay(err))
	}
}

// emptyPartial is a partial success that says nothing: a collector answers so.
const emptyPartial = "\x0a\x00"

// retryDelay is the delay that a refusal asks for.
func retryDelay(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return time.Second
}

// message is a request that no other is equal to: one of few bodies, and an empty resource of its own. Without it a server that
// knows requests again would not store them.
type message struct{ body, suffix []byte }

// unique makes a message of body, the n-th of all.
func unique(body []byte, n int64) message {
	resource := protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), strconv.FormatInt(n, 10)) // its schema's URL
	return message{body, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), resource)}
}
