package otlp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/native"
)

// Stamp is what headgate says about every row of a request, whatever the client sent.
type Stamp struct {
	Tenant        tenant.ID
	Partition     string
	RetentionDays uint16
	Received      time.Time
}

// Limits bound what one request may ask for. Zero values mean the defaults.
type Limits struct {
	// MaxDays is how many distinct UTC days the rows of one table may lie on (64). ClickHouse makes a part for each.
	MaxDays int
	// MaxRecords is how many records a request may have (262,144; agents send some thousands); one with more is refused
	// whole. It is what an object bomb meets first: 64 MiB hold 32 million empty records.
	MaxRecords int
	// MaxExpansion is how many times the size of the body the rows may take (3; real requests take about 2), beyond the
	// first 16 MiB. A row repeats its resource and its scope, so few bytes can ask for many.
	MaxExpansion int
}

const (
	defaultMaxDays      = 64
	defaultMaxRecords   = 1 << 18
	defaultMaxExpansion = 3
	freeRowBytes        = 16 << 20
	profileExpansion    = 4 // times MaxExpansion: a sample names its stack by one number and is stored with its frames
	freeArenaBytes      = 1 << 20
	maxBodyBytes        = 1 << 30 // positions in a dictionary are 32 bits
	itemBytes           = 40      // about what an event, a link or an exemplar takes in a row, without its texts
)

// Rows is the rows of one table. They lie in the columns of the Decoder until its next Decode or Reset.
type Rows struct {
	Table string
	Days  []uint16 // distinct UTC days since 1970 of the table's partition key, in the order they were seen
	Count int

	d       *Decoder
	table   *table
	request uint64
}

// Encode copies the rows into a Block, which is the caller's. It panics if the Decoder has gone on since.
func (r *Rows) Encode() native.Block {
	r.check()
	return r.table.b.Encode(r.Count)
}

// Append is Encode into memory that the caller gives: the Block is at the end of dst, which is returned. It may be the
// memory of the body, which the rows do not refer to.
func (r *Rows) Append(dst []byte) (native.Block, []byte) {
	r.check()
	return r.table.b.Append(dst, r.Count)
}

func (r *Rows) check() {
	// SECURITY: its columns hold nothing by then, or the rows of another request, perhaps of another tenant.
	if r.request != r.d.requests {
		panic("BUG: rows encoded after their decoder has gone on")
	}
}

// Result is a decoded request.
type Result struct {
	Rows               []Rows // tables without rows are not there
	Accepted, Rejected int    // records: log records, spans, data points, profiles
	Reasons            Counts // of the rejected
	Untimed            int    // records among the accepted that carry no time of their own
	// UnknownFields is how many fields of resources, scopes, records and their parts were not known, or of an unexpected wire
	// type. Those of attributes and their values are not looked at.
	UnknownFields int
	// BilledBytes is the size of the body less the encoded fields of the rejected records.
	BilledBytes int64
	// Message explains the rejections to the tenant, for partial_success; "" if there are none.
	Message string
}

// Decoder decodes requests one at a time and keeps its memory from one to the next. It is not safe for concurrent use.
type Decoder struct {
	limits Limits

	logs     *logsTable
	traces   *tracesTable
	metrics  *metricsTables
	profiles *profilesTable
	tables   [4][]*table // by signal

	// The request in hand.
	sig      Signal
	requests uint64 // its number, and that of the rows in the tables
	careful  bool   // look up resource and scope before their records
	dirty    bool   // the tables are not empty
	stamp    Stamp
	tenant   []byte // the stamp's tenant as text
	res      Result
	budget   int // what rows may still take, in bytes

	// Where the walk is.
	resource resourceState
	scope    scopeState
	metric   metricState

	// The record in hand.
	bad   Reason  // why it is rejected, or none
	items int     // its events, links, exemplars
	again attrSet // its attributes, if a key is repeated

	arena     []byte // pieces of messages that were split on the wire, joined
	arenaLeft int
	entries   []entry
	scratch   []byte
	bodyText  []byte
	kinds     []byte // of the value rendered last
}

// NewDecoder returns a Decoder.
func NewDecoder(l Limits) *Decoder {
	if l.MaxDays <= 0 {
		l.MaxDays = defaultMaxDays
	}
	l.MaxRecords = l.records()
	if l.MaxExpansion <= 0 {
		l.MaxExpansion = defaultMaxExpansion
	}
	d := &Decoder{limits: l, logs: newLogsTable(), traces: newTracesTable(), metrics: newMetricsTables(), profiles: newProfilesTable()}
	d.tables[Logs] = []*table{&d.logs.table}
	d.tables[Traces] = []*table{&d.traces.table}
	d.tables[Metrics] = d.metrics.all()
	d.tables[Profiles] = []*table{&d.profiles.table}
	return d
}

// errCareful begins a request again: see resourceItems.
var errCareful = errors.New("BUG: a careful attempt ended as a careless one")

// ErrTooManyRecords says that a request has more records than Limits.MaxRecords.
var ErrTooManyRecords = errors.New("too many records in one request")

var (
	errNoTenant  = errors.New("no tenant")
	errTooLarge  = errors.New("body of more than 1 GiB")
	errManyParts = errors.New("too many messages split in parts")
)

// Decode decodes body, an export request of sig in protobuf, into rows stamped with st. The Result keeps no reference to
// body, but its Rows are to be encoded before the next Decode or Reset. An error means that the request must be refused
// as a whole, for good; it is fit for the client's eyes, and nothing of the request is left in d.
func (d *Decoder) Decode(sig Signal, body []byte, st Stamp) (Result, error) {
	// SECURITY: rows without an owner must not exist.
	if st.Tenant.IsZero() {
		return Result{}, fmt.Errorf("decode %s: %w", sig, errNoTenant)
	}
	if len(body) > maxBodyBytes {
		return Result{}, fmt.Errorf("decode %s: %w", sig, errTooLarge)
	}
	// SECURITY: columns may copy a few bytes more than a text has, to overwrite them. None of them is beyond the body.
	body = slices.Clip(body)
	err := d.attempt(sig, body, st, false)
	if errors.Is(err, errCareful) {
		err = d.attempt(sig, body, st, true)
	}
	res := d.end(int64(len(body)), err == nil)
	if err != nil {
		return Result{}, fmt.Errorf("decode %s: %w", sig, err)
	}
	return res, nil
}

// attempt reads body into the tables.
func (d *Decoder) attempt(sig Signal, body []byte, st Stamp, careful bool) error {
	// SECURITY: rows of the last request, or of one that ended early in a panic, perhaps another tenant's, must not stay.
	d.reset()
	d.sig, d.stamp, d.careful = sig, st, careful
	d.metric.bad, d.metric.bytes = none, 0 // only metrics have one
	d.tenant = append(d.tenant[:0], st.Tenant.String()...)
	expansion := d.limits.MaxExpansion
	if sig == Profiles {
		expansion *= profileExpansion
	}
	d.budget = freeRowBytes + expansion*len(body)
	d.arena, d.arenaLeft = d.arena[:0], len(body)+freeArenaBytes
	d.dirty = true
	if sig == Profiles {
		if err := d.readDictionary(body); err != nil {
			return err
		}
	}
	return d.request(body)
}

// Reset drops the rows of the last request, and whatever a panic may have left of it. A Decoder that waits for its next
// request should not keep a tenant's rows meanwhile.
func (d *Decoder) Reset() {
	d.reset()
	d.forget()
}

func (d *Decoder) reset() {
	d.requests++
	d.res = Result{}
	if d.dirty {
		for _, t := range d.tables[d.sig] {
			t.reset()
		}
		d.dirty = false
	}
}

// end completes the rows of a good request and drops those of another, and every reference to the body.
func (d *Decoder) end(size int64, good bool) Result {
	if good {
		n := 0
		for _, t := range d.tables[d.sig] {
			if t.rows > 0 {
				n++
			}
		}
		if n > 0 {
			d.res.Rows = make([]Rows, 0, n)
		}
		for _, t := range d.tables[d.sig] {
			if t.rows > 0 {
				d.res.Rows = append(d.res.Rows, t.finish(d))
			}
		}
		d.res.BilledBytes += size
		d.res.Message = d.res.Reasons.message(d.sig, d.res.Accepted, d.res.Rejected)
	}
	res := d.res
	d.res = Result{}
	if !good {
		d.reset()
	}
	d.forget()
	return res
}

func (d *Decoder) forget() {
	d.stamp = Stamp{}
	d.resource.forget()
	d.scope.forget()
	d.metric.forget()
	d.profiles.dict.forget()
	d.again.forget()
	clear(d.entries[:cap(d.entries)])
}

// overrun refuses the request if a further record would be one too many.
func (d *Decoder) overrun() error {
	if d.res.Accepted+d.res.Rejected >= d.limits.MaxRecords {
		return fmt.Errorf("%w: more than %d", ErrTooManyRecords, d.limits.MaxRecords)
	}
	return nil
}

// reject counts a record of wire encoded bytes out.
func (d *Decoder) reject(r Reason, wire int) {
	d.res.Rejected++
	d.res.Reasons[r]++
	d.res.BilledBytes -= int64(wire)
}

// admit decides about the record in hand, after everything about it is known: it is accepted into t with the partition
// time ns, or rejected. wire is its size on the wire, extra what else its row takes beyond that and its items.
func (d *Decoder) admit(t *table, ns uint64, wire, extra int) bool {
	// Its own fault comes first: that is the same whether its resource is known already or not.
	bad := d.bad
	if bad == none {
		bad = d.metric.bad
	}
	if bad == none {
		bad = d.scope.bad
	}
	if bad == none {
		bad = d.resource.bad
	}
	cost := t.rowBytes + d.resource.bytes + d.scope.bytes + d.metric.bytes + wire + extra + itemBytes*d.items
	switch {
	case bad != none:
	case cost > d.budget:
		bad = TooLarge
	case !t.admitDay(ns, d.limits.MaxDays):
		bad = TooManyDays
	default:
		d.budget -= cost
		d.res.Accepted++
		t.rows++
		return true
	}
	d.reject(bad, wire)
	return false
}

// item counts an event, a link or an exemplar and reports whether it may be one more.
func (d *Decoder) item() bool {
	if d.items >= maxItems {
		d.bad = TooManyItems
		return false
	}
	d.items++
	return true
}

// keep appends piece to the arena.
func (d *Decoder) keep(piece []byte) error {
	if d.arenaLeft -= len(piece); d.arenaLeft < 0 {
		return errManyParts
	}
	d.arena = append(d.arena, piece...)
	return nil
}

// merged returns the concatenation of all fields tag of the message b, which means the same as merging them.
func (d *Decoder) merged(b []byte, tag uint64) ([]byte, error) {
	from := len(d.arena)
	for i := 0; i < len(b); {
		got, _, piece, next := nextField(b, i)
		if i = next; i < 0 {
			return nil, ErrMalformed
		}
		if got == tag {
			if err := d.keep(piece); err != nil {
				return nil, err
			}
		}
	}
	return d.arena[from:len(d.arena):len(d.arena)], nil
}
