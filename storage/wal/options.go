package wal

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/faultfs"
)

// Options configure a Log. The zero value is usable.
type Options struct {
	FS            faultfs.FS // nil: the machine's
	SegmentBytes  int64      // of one file, rounded up to pages; 0: 64 MiB
	MaxBytes      int64      // of all segments that are not set aside; 0: 10 GiB. At least two segments.
	ReserveBytes  int64      // free space on the disk that the log leaves to others; 0: 1 GiB, negative: none
	MaxEntryBytes int64      // of one entry; 0, or more than fits: what fits into a segment

	Logger *slog.Logger     // nil: discarded
	Now    func() time.Time // nil: time.Now

	// OnSync is called after each group commit, one at a time: how long write and sync took, what they carried, and
	// why they failed. It must return quickly: appenders wait. nil: not called.
	OnSync func(took time.Duration, entries int, bytes int64, err error)
}

// MaxHeadBytes bounds the head of an entry, see Append.
const MaxHeadBytes = 64 << 10

const (
	maxGroupBytes   = 8 << 20
	maxGroupEntries = 1024
)

// withDefaults fills in what is zero and refuses what cannot work.
func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = faultfs.OS{}
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = alignUp(o.SegmentBytes, pageBytes)
	if o.MaxBytes == 0 {
		o.MaxBytes = 10 << 30
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 1 << 30
	}
	o.ReserveBytes = max(o.ReserveBytes, 0)
	if o.SegmentBytes < 4*pageBytes || o.SegmentBytes > math.MaxUint32 {
		return o, fmt.Errorf("segment of %d bytes: want %d to %d", o.SegmentBytes, 4*pageBytes, uint32(math.MaxUint32))
	}
	if o.MaxBytes < 2*o.SegmentBytes {
		return o, fmt.Errorf("log of %d bytes: want at least two segments of %d", o.MaxBytes, o.SegmentBytes)
	}
	// A segment holds its header's page, the frame, and the seal's page.
	if most := o.SegmentBytes - 2*pageBytes - frameBytes; o.MaxEntryBytes <= 0 || o.MaxEntryBytes > most {
		o.MaxEntryBytes = most
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}
