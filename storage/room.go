package storage

import (
	"fmt"
)

// turnLocked counts a refused request and says so in the log, once, until a request is taken again.
func (l *Log) turnLocked(err error) {
	switch {
	case err != nil:
		l.metrics.refused.Inc()
		if !l.refusing {
			l.log.Warn("requests are refused", "err", err)
		}
	case l.refusing:
		l.log.Info("requests are taken again")
	}
	l.refusing = err != nil
}

// keptSegments is how many segments' room of the reserve is for the records of runs.
const keptSegments = 2

// entryBytes is what a request counts at least toward the log's size, for the memory that knows of it.
const entryBytes = 1 << 10

// room returns an error if the log may take no more requests. It keeps a segment back, and some of the reserve on the disk,
// for the records of runs: without them nothing would ever leave a full log.
func (l *Log) room() error {
	if s := l.wal.Stats(); s.Bytes+l.opt.SegmentBytes > l.opt.MaxBytes {
		return fmt.Errorf("%w: it has %d bytes of %d", ErrUnavailable, s.Bytes, l.opt.MaxBytes)
	}
	if free, err := l.disk.free(l.opt.Now()); err != nil || free < l.opt.ReserveBytes {
		return fmt.Errorf("%w: %d bytes are free on its disk (%v), %d are reserved", ErrUnavailable, free, err, l.opt.ReserveBytes)
	}
	return nil
}

// shareLocked returns an error if tenant may add nothing to the log: its backlog is half of what the log can hold, so that
// an outage does not make one tenant's flood refuse the others, or there are more requests than memory is to know of.
func (l *Log) shareLocked(tenant string) error {
	var waiting int64
	for _, ln := range l.lanes {
		if t := ln.backlog.tenants[tenant]; t != nil {
			waiting += t.bytes
		}
	}
	if waiting > l.opt.MaxBytes/2 {
		return fmt.Errorf("%w: %d bytes of this tenant wait", ErrUnavailable, waiting)
	}
	if int64(l.entries)*entryBytes >= l.opt.MaxBytes {
		return fmt.Errorf("%w: %d requests wait", ErrUnavailable, l.entries)
	}
	return nil
}
