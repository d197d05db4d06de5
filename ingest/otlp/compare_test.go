package otlp

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/native"
	"github.com/headgate-io/headgate/storage/schema"
)

// row is a row of a table, every value in one text form.
type row map[string]string

// rowSet is what a request becomes: rows by table, and what was counted.
type rowSet struct {
	tables             map[string][]row
	accepted, rejected int
	reasons            Counts
	billed             int64
	verdicts           []bool // of the reference: which records are accepted, in order
}

func testStamp(t testing.TB) Stamp {
	t.Helper()
	id, err := tenant.ParseID("acme")
	if err != nil {
		t.Fatal(err)
	}
	return Stamp{
		Tenant: id, Partition: "shared-07", RetentionDays: 30,
		Received: time.Date(2026, 9, 1, 10, 20, 30, 123456789, time.UTC),
	}
}

const testRunID = 0x1122334455667788

// uncompressed returns what is in the frames of a block.
func uncompressed(t testing.TB, frames []byte) []byte {
	t.Helper()
	raw, err := native.AppendRaw(nil, frames)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// readRows decodes the blocks of res with the reader of clickhouse-go.
func readRows(t testing.TB, res Result) rowSet {
	t.Helper()
	set := rowSet{tables: map[string][]row{}, accepted: res.Accepted, rejected: res.Rejected, reasons: res.Reasons, billed: res.BilledBytes}
	for _, r := range res.Rows {
		b := proto.NewBlock()
		raw := uncompressed(t, r.Encode().AppendTo(nil, testRunID))
		reader := chproto.NewReader(bytes.NewReader(raw))
		if err := b.Decode(reader, 0); err != nil {
			t.Fatalf("%s: decode block: %v", r.Table, err)
		}
		rest := make([]byte, 1)
		if n, _ := reader.Read(rest); n != 0 {
			t.Fatalf("%s: bytes left after the block", r.Table)
		}
		rows := make([]row, b.Rows())
		for i := range rows {
			rows[i] = row{}
			for _, c := range b.Columns {
				rows[i][c.Name()] = show(c.Row(i, false))
			}
		}
		for name, zero := range rareColumns {
			for i := range rows {
				if _, ok := rows[i][name]; !ok && columnsOf()[r.Table][name] {
					rows[i][name] = zero // as ClickHouse fills a column that a block lacks
				}
			}
		}
		set.tables[r.Table] = rows
	}
	return set
}

// rareColumns has the columns that a block may lack, and what is then in every row.
var rareColumns = map[string]string{
	"RawTimestamp": "0", "RawObservedTimestamp": "0", "RawSeverityNumber": "0", "RawEndTimestamp": "0", "RawTimeUnix": "0",
	"RawStartTimeUnix":    "0",
	"Events.RawTimestamp": "[]", "Events.AttributesKinds": "[]", "Links.AttributesKinds": "[]", "Exemplars.RawTimeUnix": "[]",
	"Exemplars.FilteredAttributesKinds": "[]",
}

// columnsOf has the columns of each table, but RunId.
var columnsOf = sync.OnceValue(func() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, tables := range NewDecoder(Limits{}).tables {
		for _, t := range tables {
			out[t.name] = map[string]bool{}
			for _, name := range t.b.Names() {
				out[t.name][name] = true
			}
		}
	}
	return out
})

// show writes a value so that equal text means equal value, bit for bit.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case time.Time:
		return strconv.FormatInt(v.Unix()*1e9+int64(v.Nanosecond()), 10)
	case float64:
		if math.IsNaN(v) {
			return "NaN"
		}
		return fmt.Sprintf("%016x %v", math.Float64bits(v), v)
	case *float64:
		if v == nil {
			return "NULL"
		}
		return show(*v)
	case *int64:
		if v == nil {
			return "NULL"
		}
		return show(*v)
	case map[string]string:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		var b strings.Builder
		for _, k := range keys {
			fmt.Fprintf(&b, "%q:%q ", k, v[k])
		}
		return "{" + b.String() + "}"
	case []time.Time:
		return showList(v)
	case []float64:
		return showList(v)
	case []*float64:
		return showList(v)
	case []*int64:
		return showList(v)
	case []map[string]string:
		return showList(v)
	case []string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

func showList[T any](list []T) string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = show(list[i])
	}
	return "[" + strings.Join(out, " ") + "]"
}

// compareSets fails t for each difference, with the columns that differ.
func compareSets(t testing.TB, got, want rowSet) {
	t.Helper()
	if got.accepted != want.accepted || got.rejected != want.rejected || got.reasons != want.reasons {
		t.Errorf("accepted %d rejected %d %v, want %d %d %v",
			got.accepted, got.rejected, got.reasons, want.accepted, want.rejected, want.reasons)
	}
	if got.billed != want.billed {
		t.Errorf("billed bytes %d, want %d", got.billed, want.billed)
	}
	for _, table := range schema.Tables {
		g, w := got.tables[table], want.tables[table]
		if len(g) != len(w) {
			t.Errorf("%s: %d rows, want %d", table, len(g), len(w))
			continue
		}
		for i := range g {
			for col, v := range w[i] {
				if gv, ok := g[i][col]; !ok || gv != v {
					t.Errorf("%s row %d: %s = %s, want %s", table, i, col, gv, v)
				}
			}
			for col := range g[i] {
				if _, ok := w[i][col]; !ok {
					t.Errorf("%s row %d: column %s is not in the reference", table, i, col)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}
