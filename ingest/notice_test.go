package ingest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// TestNoticesComeOncePerMinuteKeyAndThreshold: exporters log each one.
func TestNoticesComeOncePerMinuteKeyAndThreshold(t *testing.T) {
	n := newNotices()
	at := func(d time.Duration) time.Time { return quotaNoon.Add(d) }
	for _, tc := range []struct {
		after   time.Duration
		key     string
		percent int
		want    bool
	}{
		{0, "k", 79, false},
		{0, "k", 80, true},
		{0, "k", 89, false}, // of the same threshold
		{0, "j", 80, true},
		{1 * time.Second, "k", 90, true},
		{2 * time.Second, "k", 85, false},
		{59 * time.Second, "k", 80, false},
		{60 * time.Second, "k", 80, true},
		{60 * time.Second, "k", 90, false}, // 59 s after its last
		{61 * time.Second, "k", 90, true},
		{61 * time.Second, "k", 94, false},
		{61 * time.Second, "k", 95, true},
		{61 * time.Second, "k", 99, true},
		{61 * time.Second, "k", 100, false}, // of the same threshold
		{119 * time.Second, "k", 100, false},
		{121 * time.Second, "k", 100, true},
		{-time.Hour, "k", 100, true}, // the clock was set back
		{-time.Hour, "k", 100, false},
	} {
		if got := n.due(tc.key, tc.percent, at(tc.after)); got != tc.want {
			t.Errorf("after %v, %s at %d %%: %v, want %v", tc.after, tc.key, tc.percent, got, tc.want)
		}
	}
}

// TestNoticesAgreeWithAModel over random histories, with a clock that leaps now and then.
func TestNoticesAgreeWithAModel(t *testing.T) {
	n, last, now, rng := newNotices(), map[string]time.Time{}, quotaNoon, rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		now = now.Add(time.Duration(rng.Int64N(int64(10 * time.Second))))
		if rng.IntN(1000) == 0 {
			now = now.Add(10 * time.Minute)
		}
		k, percent := fmt.Sprint(rng.IntN(5)), 75+rng.IntN(26)
		name, want := "", false
		for _, threshold := range []int{80, 90, 95, 99} {
			if percent >= threshold {
				name = fmt.Sprint(k, " ", threshold)
			}
		}
		if at, ok := last[name]; name != "" && (!ok || now.Sub(at) >= time.Minute) {
			want, last[name] = true, now
		}
		if got := n.due(k, percent, now); got != want {
			t.Fatalf("key %s at %d %%, %v: %v, want %v", k, percent, now, got, want)
		}
	}
}

func TestNoticesAreBounded(t *testing.T) {
	n, told := newNotices(), 0
	for i := range 10 * maxNotices {
		if n.due(fmt.Sprint(i), 80+20*(i%2), quotaNoon) {
			told++
		}
	}
	if told != maxNotices || len(n.last)+len(n.earlier) != maxNotices {
		t.Errorf("%d told, %d kept, want %d", told, len(n.last)+len(n.earlier), maxNotices)
	}
	if !n.due("later", 80, quotaNoon.Add(noticeEvery)) {
		t.Error("nobody is told any more")
	}
	n.due("much later", 80, quotaNoon.Add(3*noticeEvery))
	if len(n.last)+len(n.earlier) > 2 {
		t.Errorf("%d are kept for ever", len(n.last)+len(n.earlier))
	}
}

func TestNoticeSaysWhatIsLeftAndForHowLong(t *testing.T) {
	midnight := quotaNoon.Add(12 * time.Hour)
	q := metering.Quota{ID: "limit-daily-bytes", Signal: "logs", Limit: 1000, Used: 815, Remaining: 185, Reset: midnight, ExhaustedAt: quotaNoon.Add(time.Hour)}
	want := "daily byte limit for logs is 81% used: 815 of 1000, resets 2025-03-02T00:00:00Z; at the present pace it is used up at 2025-03-01T13:00:00Z (limit-daily-bytes)"
	if got := notice(q); got != want {
		t.Errorf("notice = %q, want %q", got, want)
	}
	q.Signal, q.ExhaustedAt = "", time.Time{}
	full := q
	full.Used, full.Remaining = 1200, 0
	billed := full
	billed.Billed = true
	for want, q := range map[string]metering.Quota{
		"daily byte limit is 81% used: 815 of 1000, resets 2025-03-02T00:00:00Z; at the present pace it lasts until then (limit":            q,
		"daily byte limit is 100% used: 1200 of 1000, resets 2025-03-02T00:00:00Z; nothing more is taken until then (limit":                 full,
		"daily byte limit is 100% used: 1200 of 1000, resets 2025-03-02T00:00:00Z; what comes until then is billed as overage (limit-daily": billed,
	} {
		if got := notice(q); !strings.HasPrefix(got, want) {
			t.Errorf("notice = %q, want %q", got, want)
		}
	}
}

func TestRemarksAreJoined(t *testing.T) {
	for _, tc := range [][3]string{{"", "", ""}, {"", "b", "b"}, {"a", "", "a"}, {"a", "b", "a; b"}} {
		p := partial{rejected: 3, message: tc[0]}
		if p.remark(tc[1]); p != (partial{3, tc[2]}) {
			t.Errorf("%q and %q: %+v", tc[0], tc[1], p)
		}
	}
}

// TestS4SendersAreWarnedBeforeTheLimit: on each transport, from 80 % on and not on every request, with what is left in the
// fields of every answer. Nothing is said of a parent's limit.
func TestS4SendersAreWarnedBeforeTheLimit(t *testing.T) {
	clock := newHandClock()
	g := start(t, Options{Now: clock.now})
	size := int64(len(encode(t, logs(1), protobuf)))
	midnight := clock.now().Truncate(24*time.Hour).AddDate(0, 0, 1)
	for name, send := range g.senders() {
		name = strings.NewReplacer(" ", "-", "/", "-").Replace(name)
		keys := map[tenant.Owner]string{}
		for _, owner := range []tenant.Owner{tenant.OwnerKey, tenant.OwnerTenant, tenant.OwnerParent} {
			keys[owner] = g.limited(name+"-"+string(owner), owner, 40*size)
		}
		free := g.limited(name+"-free", tenant.OwnerTenant, tenant.Unlimited)
		if got := send(free, logs(1)); got.policy+got.limit+got.message != "" || got.code != codes.OK {
			t.Errorf("%s without a limit: %+v", name, got)
		}
		for owner, key := range keys {
			id, policy := "limit-daily-bytes", "daily"
			if owner == tenant.OwnerKey {
				id, policy = id+"-key", policy+"-key"
			}
			for i := int64(1); i <= 40; i++ {
				warned := map[int64]bool{32: true, 36: true, 38: true, 40: true}[i] // 80, 90, 95 and 100 %
				if i == 34 {
					clock.advance(noticeEvery) // 85 %, after a minute
					warned = true
				}
				got := send(key, logs(1))
				if owner == tenant.OwnerParent {
					if got.policy+got.limit+got.message != "" || got.code != codes.OK {
						t.Errorf("%s, %d of 40 of a parent: %+v", name, i, got)
					}
					continue
				}
				quota, left, seconds := checkQuotaFields(t, got.policy, got.limit)
				if until := midnight.Sub(clock.now()); got.code != codes.OK || quota != 40*size || left != (40-i)*size || seconds != int64((until+time.Second-1)/time.Second) || !strings.HasPrefix(got.limit, fmt.Sprintf("%q;", policy)) {
					t.Errorf("%s, %d of 40 of a %s: %+v", name, i, owner, got)
				}
				says := fmt.Sprintf("daily byte limit is %d%% used: %d of %d, resets %s; ", i*100/40, i*size, 40*size, midnight.Format(time.RFC3339))
				if said := strings.HasPrefix(got.message, says) && strings.HasSuffix(got.message, "("+id+")"); said != warned || got.rejected != 0 || !warned && got.message != "" {
					t.Errorf("%s, %d of 40 of a %s: %q, want a warning: %v", name, i, owner, got.message, warned)
				}
			}
			if got := send(key, logs(1)); got.code != codes.ResourceExhausted || (owner == tenant.OwnerParent) != (got.policy == "") {
				t.Errorf("%s, beyond the limit of a %s: %+v", name, owner, got)
			}
		}
	}
}

// TestWarningsJoinWhatElseIsSaid of rejected records, and of a body that looks like another signal's.
func TestWarningsJoinWhatElseIsSaid(t *testing.T) {
	clock := newHandClock()
	g := start(t, Options{Now: clock.now})
	key := g.limited("acme", tenant.OwnerTenant, 100_000)
	if a := g.post("/v1/logs", bytes.NewReader(sized(t, 90_000)), "key", key, "Content-Type", protoType); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, tc := range []struct {
		path string
		req  request
		says []string
	}{
		{"traces", spans(0), []string{"daily byte limit is 9"}},
		{"traces", spans(3), []string{`"rejectedSpans":"3"`, "invalid span id", "; daily byte limit is 9"}},
		{"logs", spans(0), []string{"looks like OTLP traces", "; daily byte limit is 9"}},
	} {
		clock.advance(noticeEvery)
		a := g.post("/v1/"+tc.path, bytes.NewReader(encode(t, tc.req, jsonEncoding)), "key", key, "Content-Type", jsonType)
		for _, want := range tc.says {
			if a.status != 200 || !strings.Contains(string(a.body), want) {
				t.Errorf("%s: %d %s, want %q", tc.path, a.status, a.body, want)
			}
		}
		if tc.path == "logs" && strings.Contains(string(a.body), "rejected") {
			t.Errorf("%s: %s, want none rejected", tc.path, a.body)
		}
	}
}
