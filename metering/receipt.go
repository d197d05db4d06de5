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
	// Debits are the accounts that BilledBytes were taken from. A receipt of version 1 has none, and means those of its key, its
	// tenant and the tenant's ancestors on the day of UTC.
	Debits []Debit
}

// Debit is an account that a receipt counts against.
type Debit struct {
	Key    bool   // of a key, not of a tenant
	ID     string // the key's or the tenant's
	Signal Signal // "" is all signals
	Day    int64  // in the owner's zone: 0 is 1970-01-01
	Limit  int64  // in force when it was admitted: bytes, or tenant.Unlimited
	Billed bool   // what is beyond Limit is overage
}

// maxDebits are those of the deepest chain, and some.
const maxDebits = 64

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
	if len(r.Debits) > maxDebits {
		return fmt.Errorf("receipt: %d accounts", len(r.Debits))
	}
	for i := range r.Debits {
		if d := &r.Debits[i]; d.ID == "" || len(d.ID) > maxKeyBytes || d.Signal != "" && !d.Signal.valid() || d.Limit < tenant.Unlimited {
			return fmt.Errorf("receipt: account %q of signal %q with a limit of %d", d.ID, d.Signal, d.Limit)
		}
	}
	for _, n := range [...]int64{r.BilledBytes, r.OverageBytes, r.UnbilledBytes, r.Records, r.Rejected} {
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
