// Package jaeger answers the Jaeger query API, /jaeger/api/… and /jaeger/api/v3/…, from the spans that OTLP brought: for
// Grafana's Jaeger data source and the Jaeger UI.
//
// A request becomes plans over the tables of traces (search.go), which package query prints with the scope's tenants
// first and reads. What comes back is made into spans (record.go) and written as Jaeger's own JSON (trace.go, tags.go)
// or as OTLP JSON (otlp.go), both as a stream: memory is bounded by one span, or one chunk of them, whatever the trace.
//
// A trace of another tenant is as one that does not exist: same status, body and headers. Two tenants' spans with the same
// trace id are one trace only for a caller who may read both.
//
// A Handler is safe for concurrent use.
package jaeger
