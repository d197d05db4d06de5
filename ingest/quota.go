package ingest

import (
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
)

// quotaFields are the values of RateLimit-Policy and RateLimit, by which senders learn how much of a limit is left before
// they are cut (draft-ietf-httpapi-ratelimit-headers-11). The zero value is none.
type quotaFields struct{ policy, limit string }

// The fields' names. gRPC has them in lower case.
const (
	policyField = "RateLimit-Policy"
	limitField  = "RateLimit"
)

const (
	unitBytes    = "content-bytes" // uncompressed protobuf, as billed
	unitRequests = "requests"
	unitFlying   = "concurrent-requests"
)

// window is the w of a policy. A day on which clocks change is an hour longer or shorter, and the policy stays as it is: the t
// beside it is exact.
const (
	noWindow     = 0
	dayWindow    = 24 * 60 * 60
	secondWindow = 1
)

// fieldsOfQuota tells of a limit to who was within it.
func fieldsOfQuota(q metering.Quota, now time.Time) quotaFields {
	return makeQuotaFields("daily", q.Owner, q.Signal, q.Limit, dayWindow, unitBytes, q.Remaining, q.Reset.Sub(now))
}

// fieldsOfLimit tells of a limit to who is refused by it. t is what Retry-After says. A limit of one request's size has none.
//
// SECURITY: nor has a parent's, whose numbers are the sum over siblings.
func fieldsOfLimit(e *metering.LimitError, now time.Time) quotaFields {
	name, unit, window, left := string(e.Kind), unitBytes, noWindow, int64(0)
	switch e.Kind {
	case tenant.DailyBytes:
		name, window, left = "daily", dayWindow, e.Limit-e.Used // which is too little for this request
	case tenant.BytesPerSecond:
		window = secondWindow
	case tenant.RequestsPerSecond:
		unit, window = unitRequests, secondWindow
	case tenant.InFlightRequests:
		unit = unitFlying
	}
	if e.Owner == tenant.OwnerParent || e.Permanent() {
		return quotaFields{}
	}
	return makeQuotaFields(name, e.Owner, e.Signal, e.Limit, window, unit, left, e.Delay(now))
}

// makeQuotaFields names a policy by what it limits, of whom if not of the tenant, and of which signal if not of all.
func makeQuotaFields(name string, of tenant.Owner, sig metering.Signal, quota int64, window int, unit string, left int64, t time.Duration) quotaFields {
	var room [160]byte
	b := appendPolicyName(room[:0], name, of, sig)
	b = appendParameter(b, ";q=", quota)
	if window != noWindow {
		b = appendParameter(b, ";w=", int64(window))
	}
	b = append(append(append(b, `;qu="`...), unit...), '"')
	n := len(b)
	b = appendPolicyName(b, name, of, sig)
	b = appendParameter(b, ";r=", left)
	b = appendParameter(b, ";t=", int64((t+time.Second-1)/time.Second))
	s := string(b)
	return quotaFields{s[:n], s[n:]}
}

func appendPolicyName(b []byte, name string, of tenant.Owner, sig metering.Signal) []byte {
	b = append(append(b, '"'), name...)
	if of == tenant.OwnerKey {
		b = append(b, "-key"...)
	}
	if sig != "" {
		b = append(append(b, '-'), sig...)
	}
	return append(b, '"')
}

// maxInteger is the greatest Integer of structured fields (RFC 9651, 3.3.1), fewer than a limit may have.
const maxInteger = 999_999_999_999_999

func appendParameter(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), min(max(n, 0), maxInteger), 10)
}

// appendTo adds the fields to those of an answer over HTTP.
func (q quotaFields) appendTo(fields []field) []field {
	if q.policy == "" {
		return fields
	}
	return append(fields, field{policyField, q.policy}, field{limitField, q.limit})
}

// trailer is the fields as gRPC has them, nil for none.
func (q quotaFields) trailer() metadata.MD {
	if q.policy == "" {
		return nil
	}
	return metadata.MD{"ratelimit-policy": {q.policy}, "ratelimit": {q.limit}}
}

// tell notes what the answer to an accepted request says about the limit that is nearest.
func (w *work) tell(c call, hold *metering.Reservation, now time.Time) {
	q, ok := hold.Quota()
	if !ok {
		return
	}
	w.quota = fieldsOfQuota(q, now)
	if w.receiver.notices.due(c.principal.KeyID(), q.Percent(), now) {
		w.notice = notice(q)
	}
}
