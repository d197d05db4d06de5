package otlp

import (
	"log/slog"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

// D2, D3: from what the engine gives back, text and kinds, the very values are made that pdata sees in the request.
func TestD2ValuesOfTheEngineAreTheOnesThatWereSent(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	if err := storage.Migrate(t.Context(), conn, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	st := testStamp(t)
	st.RetentionDays = 60_000
	d := NewDecoder(Limits{})
	var blocks []byte
	var want []string
	for seed := range uint64(60) {
		body := newGen(5000+seed).request(t, Logs)
		res, err := d.Decode(Logs, body, st)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Rows {
			blocks = r.Encode().AppendTo(blocks, testRunID)
		}
		ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(body)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, canonLogs(ld, st)...)
	}
	chtest.Insert(t, conn, "otel_logs", blocks)
	rows, err := conn.Query(t.Context(), `SELECT Body, BodyKind, mapKeys(LogAttributes), mapValues(LogAttributes), LogAttributesKinds,
		mapKeys(ResourceAttributes), arrayMap(v -> toString(v), mapValues(ResourceAttributes)), ResourceAttributesKinds,
		mapKeys(ScopeAttributes), mapValues(ScopeAttributes), ScopeAttributesKinds FROM otel_logs`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var got []string
	for rows.Next() {
		var body, kind string
		var own, res, scope storedMap
		if err := rows.Scan(&body, &kind, &own.keys, &own.vals, &own.kinds, &res.keys, &res.vals, &res.kinds,
			&scope.keys, &scope.vals, &scope.kinds); err != nil {
			t.Fatal(err)
		}
		v := pcommon.NewValueEmpty()
		rebuild(t, parseKinds(t, kind).at(0), body, v)
		got = append(got, canon(v, false)+" "+own.canon(t)+" "+res.canon(t)+" "+scope.canon(t))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(got) < 200 || len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("row %d:\n got %s\nwant %s", i, got[i], want[i])
		}
	}
}

// canonLogs writes the values of each log that is accepted.
func canonLogs(ld plog.Logs, st Stamp) (out []string) {
	for _, rl := range ld.ResourceLogs().All() {
		res := withoutTenant(rl.Resource().Attributes())
		for _, sl := range rl.ScopeLogs().All() {
			for _, l := range sl.LogRecords().All() {
				if tooDeep(res, sl.Scope().Attributes(), l.Attributes()) || refDepth(l.Body()) > maxDepth {
					continue
				}
				stamped := pcommon.NewMap()
				res.CopyTo(stamped)
				stamped.PutStr("tenant.id", st.Tenant.String())
				out = append(out, canon(l.Body(), false)+" "+canonMap(l.Attributes())+" "+canonMap(stamped)+" "+
					canonMap(sl.Scope().Attributes()))
			}
		}
	}
	return out
}
