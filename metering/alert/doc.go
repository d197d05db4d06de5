// Package alert keeps the events that tenants and operators are to hear of (a limit that is nearly spent, a ledger that
// drifts) and takes them to webhooks.
//
// It promises: an event exists once for each crossing, limit and day, however many processes meet it at once; its deliveries
// are made in the same transaction, so none is forgotten; a delivery is tried until the target has answered 2xx, for a day,
// so a target hears of an event at least once and knows repetitions by their id; one process at a time speaks to a target;
// targets share neither connections nor waiting; a tenant's webhook is told of that tenant alone.
//
// A message is what Standard Webhooks 1.0.0 describes (github.com/standard-webhooks/standard-webhooks,
// spec/standard-webhooks.md): headers webhook-id, webhook-timestamp and webhook-signature, HMAC-SHA256 under a secret of
// its own for each target.
//
// All types are safe for concurrent use, plain values apart. Nothing here calls time.Now. Whose events a caller may see is
// decided by package control.
package alert
