// Package prom serves the Prometheus HTTP API on the metrics of one scope of tenants, with the PromQL engine of
// Prometheus itself.
//
// How a tenant's filter is forced. The engine asks its storage for series by matchers. That storage is ours: it holds
// the scope of the caller and reads through statements that package query prints (query.PrintSeries and its like), where
// the tenant comes first. Matchers become bound parameters that narrow what is read, and are applied in Go to what was
// read; no text of a PromQL query becomes SQL, so there is nothing to rewrite. A matcher on tenant_id narrows the scope
// and cannot widen it.
//
// How OpenTelemetry's metrics become series of Prometheus is told by docs/prometheus.md: names.go and labels.go
// translate as Prometheus' own OTLP receiver does, points.go, classic.go, native.go and delta.go make samples.
//
// A Storage is for one request. A Handler is safe for concurrent use.
package prom
