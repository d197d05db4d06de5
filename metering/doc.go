// Package metering holds tenants to their daily byte limits and keeps the usage ledger that billing trusts.
//
// The Meter decides in memory. It promises that the bytes admitted on one UTC day never pass a limit by a byte, however
// many requests race (only an owner whose policy is bill is let past its own limit, and then the part beyond is marked as
// overage); that a request is debited to its key, its tenant and all its ancestors or to none; and that it never waits for
// the database.
//
// The Ledger makes receipts durable: Record returns nil only after the receipt's transaction is synced. After a crash the
// Meter is rebuilt from the ledger and knows the day's use to the byte. Rows of hours before SealedThrough never change.
//
// The life of a request, all by its one receive time:
//
//	Exhausted   before the body is read
//	Admit       the bytes are held; a refusal is a *LimitError
//	Settle      after decoding: what is billed, as a Receipt; the rest is given back
//	Record      the receipt is durable
//	Commit      the hold is final. Release instead, if anything failed since Admit. Only then the ack.
//
// It assumes one process that admits for a database; that process starts with OpenMeter before it serves. Both types are
// safe for concurrent use. Nothing here calls time.Now.
package metering
