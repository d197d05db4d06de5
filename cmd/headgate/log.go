package main

import (
	"context"
	"time"

	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// walDir is the log's directory within the data directory, and its name in the ledger of a process that is alone.
const walDir = "wal"

// logFS is the file system of the log; nil is the machine's. Tests of the process put a slow or failing one here.
var logFS faultfs.FS

// openMeter opens the meter: one that leases from the database if other replicas do so too.
func (s *server) openMeter(ctx context.Context) (err error) {
	if !s.cfg.replicated() {
		s.meter, err = metering.OpenMeter(ctx, s.db, timeNow(), s.reg)
		return err
	}
	s.meter, s.leases, err = metering.OpenLeases(ctx, s.db, s.name, metering.LedgerOptions{Now: timeNow, Logger: s.log, Registry: s.reg})
	return err
}

// openLedger opens the ledger. That of a process without a log holds nobody up, and waits for the logs of all others.
func (s *server) openLedger(context.Context) error {
	o := metering.LedgerOptions{Now: timeNow, Logger: s.log, Registry: s.reg}
	if s.role.receive {
		o.Replica = s.cfg.replica(s.name, s.ls.addresses())
		o.Pending = func() (time.Time, bool) { return s.wal.Oldest() }
	}
	s.ledger = metering.NewLedger(s.db, o)
	return nil
}

// openLog opens the log of acked requests in the data directory, and tells the meter of those that the ledger does not have.
func (s *server) openLog(ctx context.Context) (err error) {
	cfg := &s.cfg
	s.wal, err = storage.OpenLog(ctx, storage.LogOptions{
		Dir: s.dir.file(walDir), FS: logFS, Ledger: s.ledger.ForLog(s.name), Now: timeNow, Logger: s.log, Registry: s.reg,
		MaxBytes: *cfg.LogMaxBytes.bytes, ReserveBytes: *cfg.LogReserve.bytes, MaxDelay: cfg.FlushDelay, MaxRows: cfg.FlushRows,
		SegmentBytes: segmentBytes(*cfg.MaxBody.bytes), Window: cfg.ResendWindow, Timeout: cfg.InsertTimeout, Gone: s.directory.Deleting,
		Restore: func(b []byte) error {
			r, _, err := metering.ReadReceipt(b)
			if err != nil {
				return err
			}
			return s.meter.Restore(r)
		},
	})
	if err != nil {
		return err
	}
	s.onStop(s.wal.Close)
	return nil
}

// segmentBytes is the size of the log's files, into each of which the largest request must fit: its rows, compressed, are
// hardly larger than its body even if nothing in them can be compressed.
func segmentBytes(maxBody int64) int64 { return max(16<<20, 2*maxBody) }
