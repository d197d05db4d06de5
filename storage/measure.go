package storage

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage/schema"
)

// Measure tells how many bytes tenants keep in ClickHouse: compressed, on its disk, with marks and indices, in the parts that
// are in use. Where ClickHouse is several machines, it is what the one has that answers.
//
// Partitions of a tenant's own are counted exactly. A part that tenants share is divided among them by the weight of their
// rows: a constant, the length of the text and the number of attributes and the like (see weights), which is an estimate;
// that tenants' rows compress differently is not seen. What is deleted or has expired counts until ClickHouse has rewritten
// the part.
//
// A part never changes, so each is read once, and of it hardly more than the sizes of columns. Remembered are 8 bytes per
// part and tenant in it.
type Measure struct {
	conn driver.Conn

	mu      sync.Mutex // one measurement at a time
	parts   map[part][]share
	ids     []string // of tenants, by share.tenant
	numbers map[string]uint32
}

// part is one of a table. Names may come back after a partition was dropped, with other rows: hence the bytes.
type part struct {
	table, name string
	bytes       uint64
}

// share is a tenant's share of a part, 0 to 1.
type share struct {
	tenant uint32
	of     float32
}

const (
	measureTimeout = 5 * time.Minute
	// measureParts and measureBytes are how many parts one query weighs at most, and, but for the last of them, how large.
	measureParts = 200
	measureBytes = 16 << 30
	// sharedPrefix is what names of shared placements begin with; others are tenants' ids.
	sharedPrefix = "shared-"
)

// weights are what a row of each table counts for in a part that tenants share, roughly the bytes of it that are not alike
// from row to row.
var weights = map[string]string{
	schema.Logs:                        "64 + length(Body) + 32 * length(LogAttributes)",
	schema.Traces:                      "96 + 32 * length(SpanAttributes) + 64 * length(Events.Timestamp) + 48 * length(Links.TraceId)",
	schema.MetricsGauge:                "32 + 32 * length(Attributes) + 64 * length(Exemplars.TimeUnix)",
	schema.MetricsSum:                  "32 + 32 * length(Attributes) + 64 * length(Exemplars.TimeUnix)",
	schema.MetricsHistogram:            "64 + 32 * length(Attributes) + 64 * length(Exemplars.TimeUnix) + 8 * length(BucketCounts)",
	schema.MetricsExponentialHistogram: "64 + 32 * length(Attributes) + 64 * length(Exemplars.TimeUnix) + 8 * (length(PositiveBucketCounts) + length(NegativeBucketCounts))",
	schema.MetricsSummary:              "64 + 32 * length(Attributes) + 16 * length(ValueAtQuantiles.Quantile)",
	schema.MetricsSeries:               "64 + 32 * length(Attributes) + 32 * length(ScopeAttributes)",
	schema.Profiles:                    "64 + 32 * length(Attributes) + 16 * length(Values) + 32 * length(Frames.Function) + length(OriginalPayload)",
}

// NewMeasure measures what conn writes to. Nothing is asked yet.
func NewMeasure(conn driver.Conn) *Measure {
	return &Measure{conn: conn, parts: map[part][]share{}, numbers: map[string]uint32{}}
}

// UnsafeKept returns the bytes that each tenant keeps itself, by id. The first call reads all that is shared; later ones what
// is new.
//
// SECURITY: it crosses tenants; for limits and for operators.
func (m *Measure) UnsafeKept(ctx context.Context) (map[string]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1, "priority": 10})) // ingest and queries first
	kept := map[string]int64{}
	shared := map[string][]part{} // by table and partition
	present := map[part][]share{}
	err := m.list(ctx, func(p part, partition, placement string) {
		if !strings.HasPrefix(placement, sharedPrefix) {
			kept[placement] += int64(p.bytes)
			return
		}
		key := p.table + " " + partition
		shared[key] = append(shared[key], p)
		present[p] = m.parts[p]
	})
	if err != nil {
		return nil, fmt.Errorf("measure what is kept: %w", err)
	}
	m.parts = present // the others are no more
	if err := m.weigh(ctx); err != nil {
		return nil, fmt.Errorf("measure what is kept: %w", err)
	}
	for _, parts := range shared {
		m.divide(parts, kept)
	}
	return kept, nil
}

// list calls each with every part in use, its partition, and whose that is or which of the shared ones.
func (m *Measure) list(ctx context.Context, each func(p part, partition, placement string)) error {
	rows, err := m.conn.Query(ctx, `SELECT table, name, bytes_on_disk, partition_id, splitByChar('\'', partition)[2] FROM system.parts
		WHERE active AND database = currentDatabase() AND table IN ('`+strings.Join(schema.All, `','`)+`')`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var p part
		var partition, placement string
		if err := rows.Scan(&p.table, &p.name, &p.bytes, &partition, &placement); err != nil {
			return err
		}
		each(p, partition, placement)
	}
	return rows.Err()
}

// weigh finds the shares of the parts that have none yet. Those that a merge has meanwhile made into others stay without.
func (m *Measure) weigh(ctx context.Context) error {
	fresh := map[string][]part{}
	for p, shares := range m.parts {
		if shares == nil {
			fresh[p.table] = append(fresh[p.table], p)
		}
	}
	for table, parts := range fresh {
		for len(parts) > 0 {
			n, bytes := 0, uint64(0)
			for ; n < min(measureParts, len(parts)) && bytes < measureBytes; n++ {
				bytes += parts[n].bytes
			}
			if err := m.weighParts(ctx, table, parts[:n]); err != nil {
				return err
			}
			parts = parts[n:]
		}
	}
	return nil
}

func (m *Measure) weighParts(ctx context.Context, table string, parts []part) error {
	byName := map[string]part{}
	names := make([]string, len(parts))
	for i, p := range parts {
		byName[p.name], names[i] = p, "'"+p.name+"'" // a hash and numbers: nothing to escape
	}
	rows, err := m.conn.Query(ctx, `SELECT _part, groupArray(tenant), groupArray(weight / total) FROM (
		SELECT _part, toString(TenantId) AS tenant, sum(`+weights[table]+`) AS weight, sum(weight) OVER (PARTITION BY _part) AS total
		FROM `+table+` WHERE _part IN (`+strings.Join(names, ",")+`) GROUP BY _part, tenant) GROUP BY _part`)
	if err != nil {
		return fmt.Errorf("weigh parts of %s: %w", table, err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var tenants []string
		var of []float64
		if err := rows.Scan(&name, &tenants, &of); err != nil {
			return fmt.Errorf("weigh parts of %s: %w", table, err)
		}
		shares := make([]share, len(tenants))
		for i := range tenants {
			shares[i] = share{m.number(tenants[i]), float32(of[i])}
		}
		m.parts[byName[name]] = shares
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("weigh parts of %s: %w", table, err)
	}
	return nil
}

func (m *Measure) number(id string) uint32 {
	n, ok := m.numbers[id]
	if !ok {
		n = uint32(len(m.ids))
		m.ids, m.numbers[id] = append(m.ids, id), n
	}
	return n
}

// divide adds the parts of one shared partition to what their tenants keep. A part whose shares are not known is divided as
// the others are.
func (m *Measure) divide(parts []part, kept map[string]int64) {
	bytes := map[uint32]float64{}
	var all, known float64
	for _, p := range parts {
		all += float64(p.bytes)
		if shares := m.parts[p]; shares != nil {
			known += float64(p.bytes)
			for _, s := range shares {
				bytes[s.tenant] += float64(p.bytes) * float64(s.of)
			}
		}
	}
	for n, b := range bytes {
		kept[m.ids[n]] += int64(b * all / known)
	}
}
