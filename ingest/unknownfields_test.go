package ingest

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/tenant"
)

func TestD1UnknownFieldsAreCountedPerSignal(t *testing.T) {
	g := start(t, Options{})
	_, key := g.tenant("acme", auth.NewTenant{})
	body := protowire.AppendVarint(protowire.AppendTag(encode(t, logs(2), protobuf), 15_000, protowire.VarintType), 1)
	if a := g.post("/v1/logs", bytes.NewReader(body), "key", key, "Content-Type", protoType); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := g.metricOf("headgate_ingest_unknown_fields_total", map[string]string{"signal": "logs"}); got != 1 {
		t.Errorf("%v unknown fields of logs, want 1", got)
	}
}

func TestUnknownFieldsAreToldOncePerTenantAndHour(t *testing.T) {
	acme, err := tenant.ParseID("acme")
	if err != nil {
		t.Fatal(err)
	}
	globex, err := tenant.ParseID("globex")
	if err != nil {
		t.Fatal(err)
	}
	var n newer
	at := time.Unix(1788220800, 0)
	for i, c := range []struct {
		id    tenant.ID
		after time.Duration
		want  bool
	}{
		{acme, 0, true}, {acme, 0, false}, {globex, time.Minute, true}, {acme, time.Hour - 1, false}, {acme, time.Hour, true}, {acme, time.Hour, false},
		{globex, 2 * time.Hour, true}, {globex, 0, true}, // a clock that was set back does not silence it
	} {
		if got := n.due(c.id, at.Add(c.after)); got != c.want {
			t.Errorf("%d: due %v, want %v", i, got, c.want)
		}
		if len(n.told) > 2 {
			t.Errorf("%d: %d tenants are remembered", i, len(n.told))
		}
	}
}
