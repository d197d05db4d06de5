package ingest

import (
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/metering"
)

// tell counts a refused request for its tenant to see, if the tenant is known. What did not fit a limit is counted where that
// was found. Reasons are the ids of failures.
func (r *receiver) tell(c call, f *failure, size int) {
	if c.principal.Tenant().IsZero() || strings.HasPrefix(f.id, "limit-") {
		return
	}
	r.Ledger.CountRejected(metering.Refusal{
		Tenant: c.principal.Tenant(), Key: c.principal.KeyID(), Signal: metering.Signal(c.signal.String()), At: r.opt.Now(),
		Bytes: int64(size), Reason: metering.Reason(f.id), Text: printable(f.Error()),
	})
}

// rejectedReasons are the reasons of rejected records as ids: "no time" is rejected-no-time.
var rejectedReasons = func() map[otlp.Reason]metering.Reason {
	m := map[otlp.Reason]metering.Reason{}
	for _, reason := range otlp.Reasons() {
		m[reason] = metering.Reason("rejected-" + strings.ReplaceAll(reason.String(), " ", "-"))
	}
	return m
}()

// tellRejected counts the records that were rejected out of an accepted request, by reason.
func (r *receiver) tellRejected(c call, result *otlp.Result, at time.Time) {
	if result.Rejected == 0 {
		return
	}
	for reason, n := range result.Reasons {
		if n > 0 {
			r.Ledger.CountRejected(metering.Refusal{
				Tenant: c.principal.Tenant(), Key: c.principal.KeyID(), Signal: metering.Signal(c.signal.String()), At: at,
				Records: int64(n), Reason: rejectedReasons[otlp.Reason(reason)], Text: printable(result.Message),
			})
		}
	}
}

// unknownFields is the reason of fields that were passed over, in requests that were stored otherwise.
const unknownFields metering.Reason = "unknown-fields"

// tellUnknown counts the fields of an acked request that were passed over because this version does not know them: in all, and
// for its tenant to see.
func (r *receiver) tellUnknown(c call, fields int, at time.Time) {
	if fields == 0 {
		return
	}
	r.metrics.unknown.WithLabelValues(c.signal.String()).Add(float64(fields))
	r.Ledger.CountRejected(metering.Refusal{
		Tenant: c.principal.Tenant(), Key: c.principal.KeyID(), Signal: metering.Signal(c.signal.String()), At: at,
		Records: int64(fields), Reason: unknownFields,
		Text: fmt.Sprintf("%d fields of the request are not known to this version, and not stored; the rest is", fields),
	})
}
