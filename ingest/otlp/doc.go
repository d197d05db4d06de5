// Package otlp turns the bytes of an OTLP export request into blocks of table rows, in one pass and without building
// messages. It also stamps the tenant, validates, and counts what is billed.
//
// It is pure: no I/O, clock or logger. A Decoder serves one request at a time; different Decoders are independent.
//
// What it promises:
//
//   - Malformed protobuf anywhere on the way to a record fails the request; nothing is allocated by a length that the
//     bytes only claim.
//   - A record that breaks a rule of OTLP is rejected alone and counted with a reason (Reason). All others are accepted.
//   - Decoding follows the protobuf rules: fields in any order, a repeated singular message merges, the last member of a
//     oneof wins, packed and unpacked lists are the same, a field of an unexpected wire type is unknown, unknown fields and
//     groups are skipped.
//   - A row says whose it is by the Stamp alone (stamp.go).
//   - Memory is bounded by a multiple of the body (Limits).
//
// Values become text as in the collector's Value.AsString, except that inside arrays and maps NaN and the infinities are
// strings and empty bytes are "", as the OpenTelemetry specification says.
// Where an attribute key is repeated the last value wins. Bytes that are not UTF-8 become U+FFFD.
package otlp
