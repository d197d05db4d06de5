// Package ingest is headgate's OTLP server: gRPC on grpc-go and HTTP on fasthttp, for logs, traces and metrics.
//
// Both transports do the same things in the same order and share every step but reading and answering:
//
//	authenticate (headers alone) → is the limit spent already? → read the body, bounded → decode and stamp →
//	debit the limit → write the rows → record the receipt → ack
//
// A success is sent only after ClickHouse has committed every row and the usage ledger the receipt. Each refusal has a
// stable id; its status on either transport and whether a client may retry stand in one table, see failure.go.
//
// Source: OTLP specification 1.11, https://opentelemetry.io/docs/specs/otlp/.
package ingest
