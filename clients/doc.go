// Package clients proves headgate against the exporters that people run: the OpenTelemetry Collector's, the Go SDK's and
// the JS SDK's, in Node and in pages of a browser. Its tests start the built binary as a process of its own, take it through
// success, refusals, overload, outages and restarts while those exporters send, and then read back by query what was stored.
//
// What they hold, for every client in every scenario:
//
//   - a record that the client counts as delivered is stored;
//   - no record is stored twice, however often its request was sent, and each stored one is billed once;
//   - nothing is stored that was not sent, and each refusal reaches the client as what it is.
//
// It is a module of its own so that the exporters' dependencies stay out of the product. HEADGATE_BIN names the binary.
package clients
