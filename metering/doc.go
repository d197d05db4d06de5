// Package metering holds tenants to their limits and keeps the usage ledger that billing trusts.
//
// The Meter decides in memory. It promises that the bytes admitted on one day of a limit's owner never pass the limit by a
// byte, however many requests race (only an owner whose policy is bill is let past its own limit, and then the part beyond is
// marked as overage); that all limits of a request's key, tenant and ancestors, of its signal and of all, are debited
// together or not at all, and given back when a later step refuses. A meter that is alone never waits for the database; with
// Leases, one of several replicas may wait for bytes of a limited account, and refuses what it cannot have.
//
// The Ledger keeps what is billed. Receipts reach it through the log that made their requests durable: Apply adds the
// receipts of a run of log entries and the run's id in one transaction, so they are billed once however often the run is
// resolved. Rows of hours before SealedThrough never change, whatever happens.
//
// The life of a request, all by its one receive time:
//
//	Enter        the request counts as one in flight, until Leave
//	Exhausted    before the body is read
//	Hold         the bytes are held; a refusal is a *LimitError
//	Settle       after decoding: what is billed, as a Receipt; the rest is given back
//	             the rows and Receipt.AppendBinary become an entry of the log, which syncs it. From before that until
//	             its Apply the log tells Pending of the receipt, so that its hour stays open
//	Commit       the hold is final. Release instead, if anything failed since Hold. Only then the ack.
//
// and later that of its receipt: ReadReceipt, Apply, and ForgetRuns when the log's checkpoint has passed the run. LogLedger
// is these for a log that knows nothing but bytes.
//
// The start of a process, in this order: OpenMeter or OpenLeases; the log is opened, tells Pending of the receipts whose runs are not
// done, and Meter.Restore of those among them whose runs Applied does not have; then Ledger.Run, Apply and the rest. The
// Meter thus knows the day's use to the byte.
//
// It assumes one process that admits for a database, or that each has Leases under its log's name. All types are safe for concurrent use, Receipt and other plain values
// apart. Nothing here calls time.Now.
package metering
