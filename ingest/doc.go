// Package ingest is headgate's OTLP server for logs, traces and metrics: gRPC on grpc-go, HTTP/1.1 on fasthttp, HTTP/2 on
// net/http. A front per port takes TLS off and hands each connection to the server of its protocol.
//
// All of them do the same things in the same order and share every step but taking headers and writing answers:
//
//	authenticate (headers alone) → is the limit spent already? → a place among the requests of the tenant and the key →
//	read the body, bounded → inflate and decode in turn → stamp → debit the limit → append rows and receipt to the log → ack
//
// What keeps senders apart, in the order in which a request meets it: what a connection and an address may do (conn.go,
// peers.go); what a key owes for work done in vain (waste.go); how many requests of a tenant (budget.go) and of a key (gate.go)
// are at hand; size, pace and memory of a body, counted piece by piece before and after decompression (body.go, pace.go,
// budget.go); whose turn it is at the processors (turn.go). docs/otlp.md lists what the specification and agents ask for, and
// what of it is met.
//
// A success is sent only after the request is in the log on disk, whole. Each refusal has a stable id; its status on either
// transport and whether a client may retry stand in one table, see failure.go.
//
// Source: OTLP specification 1.11, https://opentelemetry.io/docs/specs/otlp/.
package ingest
