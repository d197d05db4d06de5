package auth

import (
	"fmt"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// Refused use of a key is an entry of its tenant: one per key, reason and minute, also of keys that are revoked.
func TestRefusedUseOfKeysIsAuditedOnceAMinute(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		w.tenant(NewTenant{Name: "acme"})
		live, text := w.key(NewKey{Tenant: "acme"})
		until := w.clock.Now().Add(time.Minute)
		expired, expiredText := w.key(NewKey{Tenant: "acme", ExpiresAt: &until})
		bound, boundText := w.key(NewKey{Tenant: "acme", ClientCertificates: []string{agentName}})
		revoked, revokedText := w.key(NewKey{Tenant: "acme"})
		if _, err := w.Keys().Revoke(t.Context(), w.op, revoked.ID); err != nil {
			t.Fatal(err)
		}
		w.clock.Add(time.Minute)
		use := func() (got map[string]int) {
			for range 5 {
				w.expect(text, nil)
				w.expect(keyText(live.ID, newSecret()), ErrUnknownKey)
				w.expect(expiredText, ErrExpired)
				w.expect(boundText, ErrCertificate)
				w.expect(revokedText, ErrUnknownKey)
				w.expect(keyText(newID(w.clock.Now()), newSecret()), ErrUnknownKey) // was never made
				w.expect("hg_nonsense", ErrUnknownKey)
				p, err := w.Authenticate(text)
				if err != nil {
					t.Fatal(err)
				}
				w.NoteRefusal(p, p.Require(ScopeQuery))
				w.NoteRefusal(p, p.Require(ScopeIngest))
				w.NoteRefusal(w.op, ErrScope)
			}
			if err := w.auditRefusals(t.Context()); err != nil {
				t.Fatal(err)
			}
			entries, _, err := w.Audit(t.Context(), w.op, AuditFilter{Action: "key.use"})
			if err != nil {
				t.Fatal(err)
			}
			got = map[string]int{}
			for _, e := range entries {
				if e.Outcome != OutcomeRefused || e.Actor != "key:"+e.Target {
					t.Errorf("entry %+v", e)
				}
				got[e.Target+string(e.Detail)]++
			}
			return got
		}
		want := func(n int) string {
			return fmt.Sprint(map[string]int{live.ID + `{"code":"key-unknown"}`: n, live.ID + `{"code":"key-scope"}`: n,
				expired.ID + `{"code":"key-expired"}`: n, bound.ID + `{"code":"key-certificate"}`: n, revoked.ID + `{"code":"key-unknown"}`: n})
		}
		for i, wait := range []time.Duration{0, time.Minute - 1, 1} {
			w.clock.Add(wait)
			if got := fmt.Sprint(use()); got != want(1+i/2) {
				t.Errorf("after %v: %v, want %v", wait, got, want(1+i/2))
			}
		}
		if c := w.verify("acme", nil); len(c.Findings) > 0 {
			t.Errorf("chain %+v", c.Findings)
		}
	})
}

// What is remembered is bounded, whatever is sent.
func TestRememberedRefusalsAreBounded(t *testing.T) {
	var r refusals
	now := time.Now()
	for i := range 2 * maxRefusals {
		r.refused(fmt.Sprint(i), "key-unknown", now)
	}
	if len(r.told) != maxRefusals || len(r.waiting) != maxRefusals {
		t.Errorf("%d remembered, %d waiting", len(r.told), len(r.waiting))
	}
	for len(r.take()) > 0 {
	}
	if r.refused("x", "key-unknown", now.Add(refusalInterval)); len(r.told) != 1 || len(r.take()) != 1 {
		t.Errorf("%d remembered a minute later", len(r.told))
	}
}

// What waits to be written is bounded too, when each minute brings more than is written in it.
func TestRefusalsThatWaitAreBounded(t *testing.T) {
	var r refusals
	now := time.Now()
	for minute := range 3 {
		for i := range 2 * maxRefusals {
			r.refused(fmt.Sprint(minute, " ", i), "key-unknown", now)
		}
		now = now.Add(refusalInterval)
	}
	if len(r.told) > maxRefusals || len(r.waiting) > maxRefusals {
		t.Errorf("%d remembered, %d waiting, want at most %d", len(r.told), len(r.waiting), maxRefusals)
	}
}

// Made-up ids beyond the bound do not cost a walk over all that is remembered each: there is one in a second.
func TestRefusalsAreForgottenOnceASecondAtMost(t *testing.T) {
	var r refusals
	now := time.Now()
	for i := range maxRefusals {
		r.refused(fmt.Sprint(i), "key-unknown", now)
	}
	for len(r.take()) > 0 {
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{refusalInterval - houseInterval/2, maxRefusals}, {refusalInterval, maxRefusals}, {refusalInterval + houseInterval/2, 1}} {
		if r.refused("made up", "key-unknown", now.Add(c.after)); len(r.told) != c.want {
			t.Errorf("%d remembered after %v, want %d", len(r.told), c.after, c.want)
		}
	}
}
