// Package ingest is headgate's OTLP server for logs, traces and metrics: gRPC on grpc-go, HTTP/1.1 on fasthttp, HTTP/2 on
// net/http. A front per port takes TLS off and hands each connection to the server of its protocol.
//
// All of them do the same things in the same order and share every step but taking headers and writing answers:
//
//	authenticate (headers alone) → is the limit spent already? → read the body, bounded → inflate and decode in turn →
//	stamp → debit the limit → append rows and receipt to the log → ack
//
// What a connection may do is in conn.go and peers.go. A body is read in pieces, each of which is counted against the size
// limit, before and after decompression, against the budget of bytes in flight, and against the clock: see body.go,
// budget.go and pace.go. docs/otlp.md lists what the specification and agents ask for, and what of it is met.
//
// A success is sent only after the request is in the log on disk, whole. Each refusal has a stable id; its status on either
// transport and whether a client may retry stand in one table, see failure.go.
//
// Source: OTLP specification 1.11, https://opentelemetry.io/docs/specs/otlp/.
package ingest
