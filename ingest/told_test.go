package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
)

// told is what a sender learns from an answer to logs, whatever the transport.
type told struct {
	http          int        // over HTTP
	code          codes.Code // of the status; OK for a success
	text          string     // of the status
	delay         time.Duration
	retryAfter    string // over HTTP
	policy, limit string // RateLimit-Policy, RateLimit
	rejected      int64  // of a success
	message       string
}

// senders sends logs in every way there is.
func (g *gateway) senders() map[string]func(key string, req plogotlp.ExportRequest) told {
	conn := g.dial()
	overHTTP := func(client *http.Client, enc encoding) func(string, plogotlp.ExportRequest) told {
		return func(key string, req plogotlp.ExportRequest) told {
			g.t.Helper()
			hr, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.http+"/v1/logs", bytes.NewReader(encode(g.t, req, enc)))
			if err != nil {
				g.t.Fatal(err)
			}
			hr.Header = http.Header{"Content-Type": {enc.contentType()}, "X-Api-Key": {key}}
			resp, err := client.Do(hr)
			if err != nil {
				g.t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.Header.Get("Content-Type") != enc.contentType() {
				g.t.Fatalf("answer of %q: %v", resp.Header.Get("Content-Type"), err)
			}
			return toldOverHTTP(g.t, enc, resp, body)
		}
	}
	return map[string]func(string, plogotlp.ExportRequest) told{
		"http protobuf":   overHTTP(http.DefaultClient, protobuf),
		"http json":       overHTTP(http.DefaultClient, jsonEncoding),
		"http/2 protobuf": overHTTP(http2Client(g.t), protobuf),
		"grpc": func(key string, req plogotlp.ExportRequest) told {
			g.t.Helper()
			var header, trailer metadata.MD
			resp, err := plogotlp.NewGRPCClient(conn).Export(withKey(g.t.Context(), key), req, grpc.Header(&header), grpc.Trailer(&trailer))
			if len(header.Get("ratelimit")) != 0 {
				g.t.Errorf("grpc: %v in the header", header)
			}
			got := told{policy: strings.Join(trailer.Get("ratelimit-policy"), "|"), limit: strings.Join(trailer.Get("ratelimit"), "|")}
			if err == nil {
				got.rejected, got.message = resp.PartialSuccess().RejectedLogRecords(), resp.PartialSuccess().ErrorMessage()
				return got
			}
			got.status(status.Convert(err))
			return got
		},
	}
}

func toldOverHTTP(t *testing.T, enc encoding, resp *http.Response, body []byte) told {
	t.Helper()
	got := told{http: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"),
		policy: strings.Join(resp.Header.Values("RateLimit-Policy"), "|"), limit: strings.Join(resp.Header.Values("RateLimit"), "|")}
	var err error
	if resp.StatusCode == http.StatusOK {
		answer := plogotlp.NewExportResponse()
		read := answer.UnmarshalProto
		if enc == jsonEncoding {
			read = answer.UnmarshalJSON
		}
		err = read(body)
		got.rejected, got.message = answer.PartialSuccess().RejectedLogRecords(), answer.PartialSuccess().ErrorMessage()
	} else {
		var st spb.Status
		read := proto.Unmarshal
		if enc == jsonEncoding {
			read = protojson.Unmarshal
		}
		err = read(body, &st)
		got.status(status.FromProto(&st))
	}
	if err != nil {
		t.Fatalf("answer %d %q: %v", resp.StatusCode, body, err)
	}
	return got
}

func (a *told) status(st *status.Status) {
	a.code, a.text = st.Code(), st.Message()
	if info := retryInfo(st); info != nil {
		a.delay = info.GetRetryDelay().AsDuration()
	}
}

// handClock is a clock that moves when it is told to, and begins in the first half of an hour.
type handClock struct{ nanos atomic.Int64 }

func newHandClock() *handClock {
	c := &handClock{}
	c.nanos.Store(timetest.NewRunning().Now().UnixNano())
	return c
}

func (c *handClock) now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *handClock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// principal is who a key stands for.
func (g *gateway) principal(key string) auth.Principal {
	g.t.Helper()
	p, err := g.directory.Authenticate(key)
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

// limited makes a tenant with a parent and a key. One of the three, the owner, has limits; Unlimited is no limit of the day.
func (g *gateway) limited(name string, owner tenant.Owner, daily int64, bounds ...tenant.Bound) (key string) {
	g.t.Helper()
	limits := func(of tenant.Owner) (*int64, []tenant.Bound) {
		switch {
		case of != owner:
			return nil, nil
		case daily == tenant.Unlimited:
			return nil, bounds
		}
		return &daily, bounds
	}
	parent, own, k := auth.NewTenant{Name: "parent-of-" + name}, auth.NewTenant{Name: name, Parent: "parent-of-" + name}, auth.NewKey{Tenant: name, Scopes: []auth.KeyScope{auth.ScopeIngest}}
	parent.DailyBytes, parent.Bounds = limits(tenant.OwnerParent)
	own.DailyBytes, own.Bounds = limits(tenant.OwnerTenant)
	k.DailyBytes, k.Bounds = limits(tenant.OwnerKey)
	for _, n := range []auth.NewTenant{parent, own} {
		if _, err := g.directory.Tenants().Create(g.t.Context(), g.operator, n); err != nil {
			g.t.Fatal(err)
		}
	}
	_, key, err := g.directory.Keys().Create(g.t.Context(), g.operator, k)
	if err != nil {
		g.t.Fatal(err)
	}
	return key
}

// counted is all that is counted against the limits of a key's chain, its parents' too: the state of each limit that is set,
// and of a day without.
func (g *gateway) counted(key string) string {
	g.t.Helper()
	now, p := g.server.receiver.opt.Now(), g.principal(key)
	var all []string
	for _, l := range p.Chain() {
		as, own := p.Tenant(), tenant.Limit{Owner: tenant.OwnerTenant, ID: p.Tenant().String(), DailyBytes: tenant.Unlimited}
		if l.Owner == tenant.OwnerParent { // it sees what its children do not
			parent, err := tenant.ParseID(l.ID)
			if err != nil {
				g.t.Fatal(err)
			}
			as, own.ID = parent, l.ID
			l.Owner = tenant.OwnerTenant
		}
		if l.DailyBytes == tenant.Unlimited {
			l.DailyBytes = tenant.MaxBound
		}
		for _, sig := range tenant.Signals {
			if !slices.ContainsFunc(l.Bounds, func(b tenant.Bound) bool { return b.Kind == tenant.DailyBytes && b.Signal == sig }) {
				l.Bounds = append(slices.Clone(l.Bounds), tenant.Bound{Kind: tenant.DailyBytes, Signal: sig, Max: tenant.MaxBound})
			}
		}
		states, err := g.server.receiver.Meter.Limits(metering.Charge{Tenant: as, Limits: []tenant.Limit{l, own}}, now)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, s := range states {
			all = append(all, fmt.Sprintf("%s %s of %s: %d used, %d left", s.ID, s.Signal, l.ID, s.Used, s.Remaining))
		}
	}
	return strings.Join(all, "\n")
}

// flying is how many requests of a key's tenant are in flight, as far as a limit counts them.
func (g *gateway) flying(key string) (n int64) {
	g.t.Helper()
	p := g.principal(key)
	states, err := g.server.receiver.Meter.Limits(metering.Charge{Tenant: p.Tenant(), Limits: p.Chain()}, g.server.receiver.opt.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, s := range states {
		if strings.HasPrefix(s.ID, "limit-in-flight-requests") {
			n = max(n, s.Used)
		}
	}
	return n
}

// within returns a context that ends long after what is done in it should have.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
