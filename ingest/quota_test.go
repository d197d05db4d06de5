package ingest

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

var quotaNoon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func TestQuotaFieldsAreThoseOfTheDraft(t *testing.T) {
	midnight := quotaNoon.Add(12 * time.Hour)
	quota := func(of tenant.Owner, s metering.Signal, limit, used int64) quotaFields {
		return fieldsOfQuota(metering.Quota{Owner: of, Signal: s, Limit: limit, Used: used, Remaining: max(0, limit-used), Reset: midnight}, quotaNoon)
	}
	limit := func(k tenant.Kind, of tenant.Owner, s metering.Signal, limit, used int64, wait time.Duration) quotaFields {
		e := &metering.LimitError{Kind: k, Owner: of, Signal: s, Limit: limit, Used: used, Wait: wait, Reset: quotaNoon.Add(wait)}
		if k == tenant.DailyBytes {
			e.Wait, e.Reset = 0, midnight
		}
		return fieldsOfLimit(e, quotaNoon)
	}
	for _, tc := range []struct {
		name          string
		got           quotaFields
		policy, state string
	}{
		{"of a tenant", quota(tenant.OwnerTenant, "", 1000, 250), `"daily";q=1000;w=86400;qu="content-bytes"`, `"daily";r=750;t=43200`},
		{"of a key's logs", quota(tenant.OwnerKey, "logs", 1000, 1250), `"daily-key-logs";q=1000;w=86400;qu="content-bytes"`, `"daily-key-logs";r=0;t=43200`},
		{"more than an Integer has", quota(tenant.OwnerTenant, "", 1<<60, 0), `"daily";q=999999999999999;w=86400;qu="content-bytes"`, `"daily";r=999999999999999;t=43200`},
		{"refused for the day", limit(tenant.DailyBytes, tenant.OwnerTenant, "", 100, 90, 0), `"daily";q=100;w=86400;qu="content-bytes"`, `"daily";r=10;t=43200`},
		{"shut", limit(tenant.DailyBytes, tenant.OwnerKey, "", 0, 0, 0), `"daily-key";q=0;w=86400;qu="content-bytes"`, `"daily-key";r=0;t=43200`},
		{"too fast", limit(tenant.BytesPerSecond, tenant.OwnerTenant, "traces", 100, 0, 1500*time.Millisecond), `"bytes-per-second-traces";q=100;w=1;qu="content-bytes"`, `"bytes-per-second-traces";r=0;t=2`},
		{"too often", limit(tenant.RequestsPerSecond, tenant.OwnerKey, "", 5, 0, time.Microsecond), `"requests-per-second-key";q=5;w=1;qu="requests"`, `"requests-per-second-key";r=0;t=1`},
		{"too many at once", limit(tenant.InFlightRequests, tenant.OwnerTenant, "", 5, 5, time.Second), `"in-flight-requests";q=5;qu="concurrent-requests"`, `"in-flight-requests";r=0;t=1`},
		{"too much kept", limit(tenant.StorageBytes, tenant.OwnerTenant, "", 5, 9, 10*time.Minute), `"storage-bytes";q=5;qu="content-bytes"`, `"storage-bytes";r=0;t=600`},
		{"too large", limit(tenant.RecordsPerRequest, tenant.OwnerTenant, "", 5, 9, 0), ``, ``},
		{"a parent's", limit(tenant.DailyBytes, tenant.OwnerParent, "", 0, 0, 0), ``, ``},
		{"a parent's rate", limit(tenant.BytesPerSecond, tenant.OwnerParent, "", 0, 0, time.Second), ``, ``},
	} {
		if tc.got.policy != tc.policy || tc.got.limit != tc.state {
			t.Errorf("%s:\n got %s, %s\nwant %s, %s", tc.name, tc.got.policy, tc.got.limit, tc.policy, tc.state)
		}
		checkQuotaFields(t, tc.got.policy, tc.got.limit)
		if (len(tc.got.appendTo(nil)) == 0) != (tc.policy == "") || (len(tc.got.trailer()) == 0) != (tc.policy == "") {
			t.Errorf("%s: %v, %v", tc.name, tc.got.appendTo(nil), tc.got.trailer())
		}
	}
}

// Structured fields (RFC 9651) of the one shape that is sent: an Item that is a String, and its parameters.
var (
	sfPolicy = regexp.MustCompile(`^("[ !#-\[\]-~]+");q=(\d{1,15})(?:;w=([1-9]\d{0,14}))?;qu="(?:content-bytes|requests|concurrent-requests)"$`)
	sfLimit  = regexp.MustCompile(`^("[ !#-\[\]-~]+");r=(\d{1,15});t=(\d{1,15})$`)
)

// checkQuotaFields checks the syntax of both fields, and that they are of one policy. It returns what is left and for how long.
func checkQuotaFields(t *testing.T, policy, limit string) (quota, left, seconds int64) {
	t.Helper()
	if policy == "" && limit == "" {
		return 0, 0, 0
	}
	p, l := sfPolicy.FindStringSubmatch(policy), sfLimit.FindStringSubmatch(limit)
	if p == nil || l == nil || p[1] != l[1] {
		t.Errorf("RateLimit-Policy %q, RateLimit %q", policy, limit)
		return -1, -1, -1
	}
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	if number(l[2]) > number(p[2]) {
		t.Errorf("RateLimit-Policy %q, RateLimit %q: more is left than there is", policy, limit)
	}
	return number(p[2]), number(l[2]), number(l[3])
}

func TestQuotaFieldsOfAnyNumbersAreStructuredFields(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		limit := rng.Int64N(1<<(1+rng.IntN(62)) - 1)
		q := metering.Quota{Owner: []tenant.Owner{tenant.OwnerKey, tenant.OwnerTenant}[rng.IntN(2)], Limit: limit, Used: rng.Int64N(math.MaxInt64),
			Remaining: rng.Int64N(limit + 1), Reset: quotaNoon.Add(time.Duration(rng.Int64N(int64(26 * time.Hour))))}
		f := fieldsOfQuota(q, quotaNoon.Add(time.Minute))
		checkQuotaFields(t, f.policy, f.limit)
		if t.Failed() {
			t.Fatalf("%+v", q)
		}
	}
}

// TestTellingIsCheap pins the allocations of what an accepted request is told, writing it aside.
func TestTellingIsCheap(t *testing.T) {
	q := metering.Quota{Owner: tenant.OwnerKey, Signal: "metrics", Limit: 1 << 40, Remaining: 1 << 39, Reset: quotaNoon.Add(time.Hour)}
	var f quotaFields
	if n := testing.AllocsPerRun(100, func() { f = fieldsOfQuota(q, quotaNoon) }); n > 1 {
		t.Errorf("%v allocations for the values, want 1", n)
	}
	if n := testing.AllocsPerRun(100, func() { f.appendTo(nil) }); n > 1 {
		t.Errorf("%v allocations for the fields, want 1", n)
	}
	n := newNotices()
	n.due("k", 85, quotaNoon)
	if allocs := testing.AllocsPerRun(100, func() { n.due("k", 85, quotaNoon) }); allocs != 0 {
		t.Errorf("%v allocations for a notice that is not due", allocs)
	}
}

// BenchmarkTell is what the fields cost a request beyond its hold, up to the writing of an answer.
func BenchmarkTell(b *testing.B) {
	q := metering.Quota{Owner: tenant.OwnerTenant, Limit: 1 << 40, Used: 1<<40 - 1<<36, Remaining: 1 << 36, Reset: quotaNoon.Add(time.Hour)}
	n := newNotices()
	for name, write := range map[string]func(quotaFields){
		"http": func(f quotaFields) { _ = f.appendTo(nil) },
		"grpc": func(f quotaFields) { _ = metadata.Join(nil, f.trailer()) }, // which grpc.SetTrailer does
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := fieldsOfQuota(q, quotaNoon)
				if n.due("k", q.Percent(), quotaNoon) {
					_ = notice(q)
				}
				write(f)
			}
		})
	}
}
