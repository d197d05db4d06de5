package metering

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Reason is the stable id of why something was not accepted: that of a limit, of a failure of the edge, of a rejected record's
// defect, or one of those below. Reasons are constants of the code and never come from a client, so that their number is bounded.
type Reason string

// Reasons of the ledger's own.
const (
	DroppedAtLimit Reason = "dropped-at-limit" // answered with success and discarded, as the policy drop has it
	OtherReason    Reason = "other"            // what comes without a reason, or with one that is none
)

const maxReasonBytes = 64

func (r Reason) known() Reason {
	if r == "" || len(r) > maxReasonBytes || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return OtherReason
	}
	return r
}

// Refusal is one request that was not accepted. Its counts are for information: they reach the ledger within a few seconds
// and those of the last seconds are lost in a crash.
type Refusal struct {
	Tenant  tenant.ID
	Key     string
	Signal  Signal
	At      time.Time
	Bytes   int64 // 0 if the body was not read
	Records int64 // 0 if it was not decoded
	Reason  Reason
	// Limit is what stood in the way, nil if it was no limit. Its text is kept as the answer; a limit of bytes that is spent
	// is an alert.
	Limit *LimitError
	Text  string // the answer, where Limit is nil; plain text of which 300 bytes are kept
}

// maxCounts bounds the rows of refusals that wait while the database is away, by key and by reason each.
const maxCounts = 1 << 16

// refusalRow names a row of refusals. Its hour is that of the refusal, sealed or not: nothing in it is billed.
type refusalRow struct {
	row
	reason Reason
}

// refusalSums is what such a row counts.
type refusalSums struct {
	bytes, records, requests int64
	first, last              time.Time
	limit                    *LimitError // of the last one
	text                     string      // likewise, without a limit
}

const maxAnswerBytes = 300

// CountRefused adds a request that did not fit a limit, to the sums of usage and to the refusals by reason. It never waits.
func (l *Ledger) CountRefused(r Refusal) { l.count(r, true) }

// CountRejected adds to the refusals by reason alone: a request that was refused for something other than a limit, or
// records that were rejected out of a request that was accepted, which usage has from its receipt. It never waits.
func (l *Ledger) CountRejected(r Refusal) { l.count(r, false) }

func (l *Ledger) count(r Refusal, inUsage bool) {
	if r.Tenant.IsZero() || !r.Signal.valid() || r.Bytes < 0 || r.Records < 0 || r.At.Before(firstReceipt) || r.At.After(lastReceipt) {
		l.m.droppedCounts.Inc()
		return
	}
	k := row{r.Tenant.String(), hourOf(r.At), r.Signal, r.Key}
	text := strings.ToValidUTF8(r.Text[:min(len(r.Text), maxAnswerBytes)], "?")
	l.mu.Lock()
	defer l.mu.Unlock()
	if inUsage {
		l.addCountLocked(k, sums{refusedBytes: r.Bytes, refusedRequests: 1, rejected: r.Records})
	}
	l.addRefusalLocked(refusalRow{k, r.Reason.known()},
		refusalSums{bytes: r.Bytes, records: r.Records, requests: 1, first: r.At, last: r.At, limit: r.Limit, text: text})
}

// addCountLocked adds s to what waits of k. What finds no room finds none among the refusals by reason, which are more.
func (l *Ledger) addCountLocked(k row, s sums) {
	have, ok := l.counts[k]
	if !ok && len(l.counts) >= maxCounts {
		return
	}
	have.add(s)
	l.counts[k] = have
}

// addRefusalLocked adds s to what waits of k, and counts what finds no room.
func (l *Ledger) addRefusalLocked(k refusalRow, s refusalSums) {
	have, ok := l.refusals[k]
	if !ok && len(l.refusals) >= maxCounts {
		l.m.droppedCounts.Add(float64(s.requests))
		return
	}
	l.refusals[k] = have.plus(s)
}

func (s refusalSums) plus(o refusalSums) refusalSums {
	if s.requests == 0 {
		return o
	}
	s.bytes += o.bytes
	s.records += o.records
	s.requests += o.requests
	if o.first.Before(s.first) {
		s.first = o.first
	}
	if !o.last.Before(s.last) {
		s.last, s.limit, s.text = o.last, o.limit, o.text
	}
	return s
}

func (l *Ledger) takeCounts() (map[row]sums, map[refusalRow]refusalSums) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.refusals) == 0 && len(l.counts) == 0 {
		return nil, nil
	}
	c, r := l.counts, l.refusals
	l.counts, l.refusals = map[row]sums{}, map[refusalRow]refusalSums{}
	return c, r
}

func (l *Ledger) returnCounts(counts map[row]sums, refusals map[refusalRow]refusalSums) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, s := range counts {
		l.addCountLocked(k, s)
	}
	for k, s := range refusals {
		l.addRefusalLocked(k, s)
	}
}

// writeCounts adds what waits to the ledger. What is late counts in the first open hour: it is not billed.
func (l *Ledger) writeCounts(ctx context.Context) error {
	counts, refusals := l.takeCounts()
	if len(counts) == 0 && len(refusals) == 0 {
		return nil
	}
	err := l.update(ctx, func(tx *store.Tx, open int64) error {
		rows, _ := place(counts, open)
		if err := addRows(ctx, tx, rows); err != nil {
			return err
		}
		return addRefusals(ctx, tx, refusals)
	})
	if err != nil {
		l.returnCounts(counts, refusals)
		return fmt.Errorf("write counts of refusals: %w", err)
	}
	return nil
}
