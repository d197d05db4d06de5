package ingest

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
)

func TestWasteIsForgivenWithTime(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	w := newWaste(func() time.Time { return now })
	w.add("k", wasteFree)
	if w.spent("k") || w.spent("other") {
		t.Error("refused for what is free, or for another key's waste")
	}
	w.add("k", time.Millisecond)
	if !w.spent("k") {
		t.Error("waste beyond what is free is not noticed")
	}
	if now = now.Add(wasteShare * time.Millisecond); w.spent("k") {
		t.Error("a millisecond is not forgiven in twenty")
	}
	for range 1000 {
		w.add("k", time.Hour)
	}
	if now = now.Add(wasteShare*wasteFree - time.Millisecond); !w.spent("k") {
		t.Error("any waste is forgiven too early")
	}
	if now = now.Add(time.Millisecond); w.spent("k") {
		t.Errorf("a key is shut out for over %v", wasteShare*wasteFree)
	}
	if now = now.Add(time.Hour); w.spent("k") || len(w.keys) != 0 {
		t.Errorf("%d keys are remembered that owe nothing", len(w.keys))
	}
}

// TestX10WasteIsPaidByItsKey: after bombs, a key waits for its refusals and its bodies are not read; the tenant's other key
// and another tenant's are served.
func TestX10WasteIsPaidByItsKey(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	_, other, err := g.directory.Keys().Create(t.Context(), g.operator, auth.NewKey{Tenant: "acme", Scopes: []auth.KeyScope{auth.ScopeIngest}})
	if err != nil {
		t.Fatal(err)
	}
	bomb := zipped(t, wrapped(bytes.Repeat([]byte{0x12, 0}, 4<<20), 2, 1))
	post := func(key string, body []byte, coding string) answer {
		return g.post("/v1/logs", bytes.NewReader(body), "key", key, "Content-Type", protoType, "Content-Encoding", coding)
	}
	waste, moment := g.server.receiver.budget.waste, time.Now()
	waste.now = func() time.Time { return moment } // nothing is forgiven, however slow the machine
	deadline := moment.Add(time.Minute)
	begin := moment
	a := post(key, bomb, "gzip")
	for a.status == http.StatusRequestEntityTooLarge && time.Now().Before(deadline) {
		begin = time.Now()
		a = post(key, bomb, "gzip")
	}
	wantStatus(t, a, http.StatusServiceUnavailable, protoType, "overloaded")
	if took := time.Since(begin); took < wasteDelay/2 {
		t.Errorf("answered after %v: nothing slows the sender down", took)
	}
	want200(t, post(other, encode(t, logs(1), protobuf), ""), protoType, "")
	moment = moment.Add(time.Minute)
	want200(t, post(key, encode(t, logs(1), protobuf), ""), protoType, "")
}

// TestX10WhatBringsNothingIsCharged: a request that is stored costs its key nothing of its share, the same again and one
// without a good record do.
func TestX10WhatBringsNothingIsCharged(t *testing.T) {
	g := startKnowing(t)
	_, key := g.tenant("acme", auth.NewTenant{})
	waste := g.server.receiver.budget.waste
	owed := func() (sum time.Duration) {
		waste.mu.Lock()
		defer waste.mu.Unlock()
		for _, d := range waste.keys {
			sum += d.owed
		}
		return sum
	}
	moment := time.Now() // nothing is forgiven
	waste.now = func() time.Time { return moment }
	post := func(path string, body []byte) {
		t.Helper()
		if a := g.post(path, bytes.NewReader(body), "key", key, "Content-Type", protoType); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	good := encode(t, logs(3), protobuf)
	post("/v1/logs", good)
	if n := owed(); n != 0 {
		t.Errorf("a request that is stored was charged %v", n)
	}
	post("/v1/logs", good)
	again := owed()
	if again < costOfRequest {
		t.Errorf("the same again was charged %v", again)
	}
	post("/v1/traces", wrapped(nil, 2, 2, 1)) // a span without ids
	if n := owed() - again; n < costOfRequest {
		t.Errorf("a request without a good record was charged %v", n)
	}
}
