package query

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Stats is what a caller may know of what its query took: its own rows, bytes and time.
//
// SECURITY: what the engine read is no part of it. Tenants share granules, so rows and bytes read, and what the engine's
// caches gave, tell how much others have beside one's own rows.
type Stats struct {
	Rows    int     `json:"rows"`       // of the result
	Bytes   int64   `json:"bytes"`      // of the result as it left the engine, before it was encoded
	Elapsed float64 `json:"elapsed_ms"` // from the request to the last row
	Queued  float64 `json:"queued_ms"`  // of it, before a place was free
	Cached  bool    `json:"cached"`
	Age     float64 `json:"age_ms"` // of the answer, if it was kept
}

// Stats returns what the result took so far.
func (r *Result) Stats() Stats {
	return Stats{
		Rows: r.rows, Bytes: r.bytes, Elapsed: milliseconds(time.Since(r.began)), Queued: milliseconds(r.queued),
		Cached: r.cached, Age: milliseconds(r.age),
	}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

func (s Stats) json() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte("{}")
	}
	return b
}

// slow logs a query that took long. The statement is logged without its values: which columns and stages cost is seen,
// what was looked for is not. Tenants are named by id, which operators have.
func (r *Result) slow(outcome string) {
	took := time.Since(r.began)
	if r.reader.slow <= 0 || took < r.reader.slow || r.cached {
		return
	}
	const most = 4 << 10
	sql := r.stmt.sql
	r.reader.log.LogAttrs(context.Background(), slog.LevelWarn, "slow query",
		slog.String("request_id", r.id), slog.Any("tenants", clipped(r.stmt.scope.Strings())), slog.String("payer", r.stmt.scope.Payer().String()),
		slog.String("outcome", outcome), slog.Duration("took", took), slog.Duration("queued", r.queued),
		slog.Int("rows", r.rows), slog.Int64("bytes", r.bytes), slog.String("statement", sql[:min(len(sql), most)]))
}

// clipped returns the first of many ids.
func clipped(ids []string) []string { return ids[:min(len(ids), 10)] }
