package metering

import (
	"fmt"
	"math"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Signal is the kind of telemetry.
type Signal string

// The signals.
const (
	Logs     Signal = "logs"
	Traces   Signal = "traces"
	Metrics  Signal = "metrics"
	Profiles Signal = "profiles"
)

func (s Signal) valid() bool { return s == Logs || s == Traces || s == Metrics || s == Profiles }

// Receipt is one accepted request for the ledger. Reservation.Settle makes it.
type Receipt struct {
	Tenant        tenant.ID
	Key           string
	Signal        Signal
	ReceivedAt    time.Time
	BilledBytes   int64 // counts against the limits
	OverageBytes  int64 // part of BilledBytes: beyond a limit whose owner is billed for that
	UnbilledBytes int64 // stored for nothing: a heartbeat
	Records       int64 // accepted
	Rejected      int64 // records of the request that were not
}

// The times that receipts may have: those that unix nanoseconds hold, from the beginning of the ledger on.
var (
	firstReceipt = time.Unix(firstHour, 0)
	lastReceipt  = time.Unix(0, math.MaxInt64)
)

// check refuses what would break the ledger's table: receipts of many tenants share a transaction, and none may fail the
// others.
func (r Receipt) check() error {
	switch {
	case r.Tenant.IsZero():
		return fmt.Errorf("receipt: no tenant")
	case !r.Signal.valid():
		return fmt.Errorf("receipt: signal %q", r.Signal)
	case len(r.Key) > maxKeyBytes:
		return fmt.Errorf("receipt: key id of %d bytes", len(r.Key))
	case r.ReceivedAt.Before(firstReceipt) || r.ReceivedAt.After(lastReceipt):
		return fmt.Errorf("receipt: received at %s", r.ReceivedAt)
	case r.OverageBytes > r.BilledBytes:
		return fmt.Errorf("receipt: overage of %d in %d billed bytes", r.OverageBytes, r.BilledBytes)
	}
	for _, n := range []int64{r.BilledBytes, r.OverageBytes, r.UnbilledBytes, r.Records, r.Rejected} {
		if n < 0 || n > MaxRequestBytes {
			return fmt.Errorf("receipt: count of %d", n)
		}
	}
	return nil
}

// row names a row of the ledger.
type row struct {
	tenant string
	hour   int64 // unix seconds of its start
	signal Signal
	key    string
}

// sums is what a row counts.
type sums struct {
	billed, overage, unbilled     int64
	records, requests, rejected   int64
	refusedBytes, refusedRequests int64
}

func (s *sums) add(o sums) {
	s.billed += o.billed
	s.overage += o.overage
	s.unbilled += o.unbilled
	s.records += o.records
	s.requests += o.requests
	s.rejected += o.rejected
	s.refusedBytes += o.refusedBytes
	s.refusedRequests += o.refusedRequests
}

func (r Receipt) row() (row, sums) {
	return row{r.Tenant.String(), hourOf(r.ReceivedAt), r.Signal, r.Key},
		sums{billed: r.BilledBytes, overage: r.OverageBytes, unbilled: r.UnbilledBytes,
			records: r.Records, requests: 1, rejected: r.Rejected}
}

const hourSeconds = 60 * 60

// hourOf returns the unix time that t's UTC hour starts at.
func hourOf(t time.Time) int64 { return floorDiv(t.Unix(), hourSeconds) * hourSeconds }
