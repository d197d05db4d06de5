package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// walDir is the log's directory within the data directory, and its name in the ledger of a process that is alone.
const walDir = "wal"

// logFS is the file system of the log; nil is the machine's. Tests of the process put a slow or failing one here.
var logFS faultfs.FS

// openLog opens the meter, the ledger, and the log of acked requests in the data directory, and tells the meter of those that the
// ledger does not have.
func (s *server) openLog(ctx context.Context) (err error) {
	cfg := &s.cfg
	if s.meter, s.leases, s.logName, err = openMeter(ctx, s.cfg, s.dir, s.db, s.log, s.reg); err != nil {
		return err
	}
	s.ledger = metering.NewLedger(s.db, metering.LedgerOptions{Now: time.Now, Logger: s.log, Registry: s.reg, Replica: cfg.replica(s.logName, s.ls.addresses()),
		Pending: func() (time.Time, bool) { return s.wal.Oldest() }})
	s.wal, err = storage.OpenLog(ctx, storage.LogOptions{
		Dir: s.dir.file(walDir), FS: logFS, Ledger: s.ledger.ForLog(s.logName), Now: time.Now, Logger: s.log, Registry: s.reg,
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

// openMeter opens the meter: one that leases from the database if other replicas do so too. name is the log's in the ledger.
func openMeter(ctx context.Context, cfg Config, dir *dataDir, db *store.DB, log *slog.Logger, reg prometheus.Registerer) (m *metering.Meter, l *metering.Leases, name string, err error) {
	if !cfg.replicated() {
		m, err = metering.OpenMeter(ctx, db, time.Now(), reg)
		return m, nil, walDir, err
	}
	if name, err = dir.replica(); err != nil {
		return nil, nil, "", err
	}
	m, l, err = metering.OpenLeases(ctx, db, name, metering.LedgerOptions{Now: time.Now, Logger: log, Registry: reg})
	return m, l, name, err
}
