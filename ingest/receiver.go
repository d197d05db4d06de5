package ingest

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/ingest/otlp"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

// receiver is what both transports share. It is safe for concurrent use.
type receiver struct {
	Backend
	opt      Options
	log      *slog.Logger
	metrics  *metrics
	decoders sync.Pool // of *otlp.Decoder
	holds    sync.Pool // of *metering.Reservation
	codecs   codecs
	budget   *budget
	small    *turns // to handle bodies up to smallBody
	large    *turns
	slow     *turns // like small, for keys that are suspect
	gates    *gates
	cors     cors
	acks     *acks
	notices  *notices
}

// panicked logs and counts a defect that one request ran into, and is its answer.
func (r *receiver) panicked(v any) *failure {
	r.log.Error("request panicked", "panic", v, "stack", string(debug.Stack()))
	r.metrics.panics.Inc()
	return fail(internalFailure, "an internal error happened")
}

// call is one request whose sender is known.
type call struct {
	via       transport
	signal    otlp.Signal
	principal auth.Principal
}

// credentials are the headers that may carry a key.
type credentials struct{ authorization, apiKey []string }

// authenticate tells who is asking on a connection, from memory alone: no outage of a database can make it refuse a good key.
func (r *receiver) authenticate(from *conn, c credentials) (auth.Principal, *failure) {
	credential, err := auth.Credential(c.authorization, c.apiKey)
	if err != nil {
		return auth.Principal{}, credentialFailure(err)
	}
	var certificate []string
	if from != nil {
		certificate = from.certificate
	}
	p, err := r.Keys.AuthenticateWith(credential, certificate)
	if err == nil {
		err = p.Require(auth.ScopeIngest)
	}
	if err != nil {
		return auth.Principal{}, credentialFailure(err)
	}
	return p, nil
}

// credentialFailure keeps the id and the text that auth gives; both are made for the one who asked.
func credentialFailure(err error) *failure {
	k := unauthenticated
	if errors.Is(err, auth.ErrTenantInactive) || errors.Is(err, auth.ErrScope) || errors.Is(err, auth.ErrCertificate) {
		k = forbidden
	}
	var e *auth.Error
	if !errors.As(err, &e) {
		return fail(internalFailure, "an internal error happened")
	}
	if errors.Is(err, auth.ErrKeysUnavailable) {
		return retryable(keysUnavailable, e.Text)
	}
	k.id = e.Code
	return fail(k, "%s", e.Text)
}

// admit refuses a request whose limit is spent before its body is read, so that refusing is nearly free.
func (r *receiver) admit(c call) *failure {
	now := r.opt.Now()
	switch p := c.principal; {
	case p.AtLimit() == tenant.Drop:
		return nil // its answer counts the records: the body has to be read
	case !p.KeepResends() && r.acks.may(p.Tenant(), now):
		return nil // it may have been acked before the limit was spent, and its body tells
	}
	if err := r.Meter.Exhausted(charge(c), now); err != nil {
		return r.refused(c, err, 0, now)
	}
	return nil
}

// charge is what a call's bytes count against.
func charge(c call) metering.Charge {
	p := c.principal
	return metering.Charge{Tenant: p.Tenant(), Key: p.KeyID(), Signal: metering.Signal(c.signal.String()), AtLimit: p.AtLimit(), Limits: p.Chain()}
}

// refused makes the answer of a meter's error: which limit, how much of it is used and when it resets.
func (r *receiver) refused(c call, err error, size int, now time.Time) *failure {
	var limit *metering.LimitError
	if !errors.As(err, &limit) {
		r.log.Error("admit failed", "err", err)
		return retryable(unavailable, "headgate cannot take requests at the moment; try again")
	}
	r.Ledger.CountRefused(metering.Refusal{
		Tenant: c.principal.Tenant(), Key: c.principal.KeyID(), Signal: metering.Signal(c.signal.String()), At: now, Bytes: int64(size),
		Reason: metering.Reason(limit.LimitID), Limit: limit,
	})
	f := &failure{kind: limitReached, text: limit.Error()}
	if limit.Permanent() {
		f.kind = tooManyRecords
	} else {
		f.after(limit.Delay(now))
	}
	f.id, f.quota = limit.LimitID, fieldsOfLimit(limit, now)
	return f
}

// retryable makes a failure that asks the client to come back in one to three seconds, each at another moment.
func retryable(k kind, text string) *failure {
	return fail(k, "%s", text).after(time.Second + rand.N(2*time.Second))
}

// export takes one request, whose body is protobuf by now, to its ack. The order is the promise: no failure means that
// the rows and the receipt are durable, and will reach ClickHouse and the ledger once.
func (r *receiver) export(ctx context.Context, c call, w *work) (done partial, f *failure) {
	now := r.opt.Now() // the one time of the request: its day, its hour, its rows' ReceivedAt
	size := len(w.body.b)
	var result otlp.Result
	outcome := outcomeAccepted
	defer func() {
		if v := recover(); v != nil {
			f = r.panicked(v)
		}
		if f != nil {
			outcome = f.id
			r.tell(c, f, size)
		} else if outcome != outcomeDropped && result.Accepted == 0 {
			w.inVain()
		}
		r.metrics.finish(c, outcome, result, size, r.opt.Now().Sub(now))
	}()

	if err := w.turn(ctx, int64(size)); err != nil {
		return partial{}, r.readFailure(err)
	}
	var print storage.Fingerprint // none: never known
	if !c.principal.KeepResends() {
		print = storage.FingerprintOf(c.principal.Tenant(), c.signal.String(), w.body.b)
	}
	rejected, known, recalled, err := r.Log.Recall(ctx, print)
	switch {
	case err != nil:
		return partial{}, retryable(overloaded, "an equal request is being stored; send it again")
	case known:
		outcome = outcomeRepeated
		return partial{rejected: rejected, message: repeatedMessage(rejected)}, nil
	}
	acked := false
	defer func() { recalled(acked && result.Untimed == 0, int64(result.Rejected)) }()

	hold := r.holds.Get().(*metering.Reservation)
	defer r.holds.Put(hold)
	err = r.Meter.Hold(hold, charge(c), int64(size), now)
	var limit *metering.LimitError
	if errors.As(err, &limit) && limit.Policy == tenant.Drop {
		outcome, w.quota = outcomeDropped, fieldsOfLimit(limit, now)
		return r.discard(c, w.body.b, limit, now)
	}
	if err != nil {
		return partial{}, r.refused(c, err, size, now)
	}
	defer hold.Release() // without effect after Commit

	var rows []storage.Rows
	result, err = r.decode(c, w.body.b, now, func(decoded []otlp.Rows) { rows = w.encode(c.principal.Partition(), decoded) })
	if err != nil {
		return partial{}, decodeFailure(c.signal, err)
	}
	if err := w.rest(); err != nil {
		return partial{}, r.readFailure(err)
	}
	receipt, err := hold.Settle(metering.Outcome{
		Signal: metering.Signal(c.signal.String()), Bytes: result.BilledBytes,
		Records: int64(result.Accepted), Rejected: int64(result.Rejected),
	})
	if errors.As(err, &limit) {
		return partial{}, r.refused(c, err, size, now)
	}
	if err != nil {
		r.log.Error("settle failed", "err", err)
		return partial{}, fail(internalFailure, "an internal error happened")
	}
	raw, err := receipt.AppendBinary(nil)
	if err != nil {
		r.log.Error("encode receipt failed", "err", err)
		return partial{}, fail(internalFailure, "an internal error happened")
	}
	if result.Untimed > 0 {
		print = storage.Fingerprint{} // two such requests may well be equal, and both meant
	}
	err = r.Log.Append(storage.Request{
		Tenant: c.principal.Tenant(), Signal: c.signal.String(), Received: now, Receipt: raw, Rows: rows,
		Fingerprint: print, Rejected: int64(result.Rejected),
	})
	if errors.Is(err, storage.ErrTooLarge) {
		return partial{}, fail(tooLarge, "the rows of the request take more than the log has for one; send smaller batches")
	}
	if err != nil {
		return partial{}, retryable(unavailable, "the data could not be stored just now; send it again")
	}
	acked = true
	r.gates.earn(w.key, r.opt.MaxTenantCalls)
	r.acks.note(c.principal.Tenant(), now)
	hold.Commit()
	r.tellRejected(c, &result, now)
	r.tellUnknown(c, result.UnknownFields+w.unknown, now)
	w.tell(c, hold, now)
	return partial{rejected: int64(result.Rejected), message: result.Message}, nil
}

// repeatedMessage explains the rejections of a request that was answered before.
func repeatedMessage(rejected int64) string {
	if rejected == 0 {
		return ""
	}
	return "this request was accepted before and is not stored again; its first answer said why records were rejected"
}

// discard answers a request that its tenant's policy drops at the limit: success, with every record rejected, so that the
// agent does not send it again.
func (r *receiver) discard(c call, body []byte, limit *metering.LimitError, now time.Time) (partial, *failure) {
	result, err := r.decode(c, body, now, func([]otlp.Rows) {})
	if err != nil {
		return partial{}, decodeFailure(c.signal, err)
	}
	n := int64(result.Accepted + result.Rejected)
	r.Ledger.CountRefused(metering.Refusal{
		Tenant: c.principal.Tenant(), Key: c.principal.KeyID(), Signal: metering.Signal(c.signal.String()),
		At: now, Bytes: int64(len(body)), Records: n, Reason: metering.DroppedAtLimit, Limit: limit,
	})
	r.metrics.dropped.WithLabelValues(c.signal.String()).Add(float64(n))
	return partial{rejected: n, message: limit.Error()}, nil
}

// decodeFailure makes the answer of a decoder's error, which is fit for the client's eyes.
func decodeFailure(sig otlp.Signal, err error) *failure {
	switch {
	case errors.Is(err, otlp.ErrTooManyRecords):
		return fail(tooManyRecords, "%v; send smaller batches", err)
	case errors.Is(err, otlp.ErrBadJSON):
		return fail(undecodable, "the body is not OTLP/JSON for %s: %v", sig, err)
	}
	return fail(undecodable, "the body is not an OTLP %s request: %v", sig, err)
}

// decode decodes a body, and calls take with its rows while they are in the decoder.
func (r *receiver) decode(c call, body []byte, now time.Time, take func([]otlp.Rows)) (otlp.Result, error) {
	d := r.decoders.Get().(*otlp.Decoder)
	defer func() {
		d.Reset() // no tenant's rows wait in the pool
		r.decoders.Put(d)
	}()
	p := c.principal
	result, err := d.Decode(c.signal, body, otlp.Stamp{
		Tenant: p.Tenant(), Partition: p.Partition(), RetentionDays: p.RetentionDays(), Received: now,
	})
	if err == nil {
		take(result.Rows)
	}
	return result, err
}
