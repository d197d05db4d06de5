// Package metering holds tenants to their daily byte limits and keeps the usage ledger that billing trusts.
//
// The Meter decides in memory. It promises that the bytes admitted on one UTC day never pass a limit by a byte, however
// many requests race (only an owner whose policy is bill is let past its own limit, and then the part beyond is marked as
// overage); that a request is debited to its key, its tenant and all its ancestors or to none; and that it never waits for
// the database.
//
// The Ledger keeps what is billed. Receipts reach it through the log that made their requests durable: Apply adds the
// receipts of a run of log entries and the run's id in one transaction, so they are billed once however often the run is
// resolved. Rows of hours before SealedThrough never change, whatever happens.
//
// The life of a request, all by its one receive time:
//
//	Exhausted    before the body is read
//	Admit        the bytes are held; a refusal is a *LimitError
//	Settle       after decoding: what is billed, as a Receipt; the rest is given back
//	             the rows and Receipt.AppendBinary become an entry of the log, which syncs it. From before that until
//	             its Apply the log tells Pending of the receipt, so that its hour stays open
//	Commit       the hold is final. Release instead, if anything failed since Admit. Only then the ack.
//
// and later that of its receipt: ReadReceipt, Apply, and ForgetRuns when the log's checkpoint has passed the run. LogLedger
// is these for a log that knows nothing but bytes.
//
// The start of a process, in this order: OpenMeter; the log is opened, tells Pending of the receipts whose runs are not
// done, and Meter.Restore of those among them whose runs Applied does not have; then Ledger.Run, Apply and the rest. The
// Meter thus knows the day's use to the byte.
//
// It assumes one process that admits for a database. All types are safe for concurrent use, Receipt and other plain values
// apart. Nothing here calls time.Now.
package metering
