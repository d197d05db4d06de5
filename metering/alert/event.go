package alert

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what an event is about: full-stop delimited identifiers, as Standard Webhooks recommends for types. The set
// grows here and nowhere else; a kind is never renamed.
type Kind string

// The kinds.
const (
	DailyBytes  Kind = "limit.daily_bytes"
	Storage     Kind = "limit.storage"
	Users       Kind = "limit.users"
	LedgerDrift Kind = "ledger.drift"
	testKind    Kind = "webhook.test" // sent on request, never an event
)

// Kinds are all that events can have, in the order of the documentation.
var Kinds = []Kind{DailyBytes, Storage, Users, LedgerDrift}

// Owners of limits in events. A tenant that was stopped by an ancestor's limit hears of OwnerParent, without its id and
// numbers.
const (
	OwnerKey    = "key"
	OwnerTenant = "tenant"
	OwnerParent = "parent"
)

// Thresholds are the percentages of a limit whose crossing is an event.
var Thresholds = []int{50, 80, 90, 100}

// Event is one crossing. Tenant, Kind, Owner, OwnerID, LimitID, Signal, Day and Threshold together name it: there is one at
// most.
type Event struct {
	Tenant    string // id of the tenant whose event it is
	Kind      Kind
	Owner     string // whose limit: OwnerKey, OwnerTenant or OwnerParent; "" for kinds without limits
	OwnerID   string // the key's or tenant's id; "" for OwnerParent
	LimitID   string // stable id, as in errors; "" for kinds without limits
	Signal    string // "" is all signals
	Day       int64  // of the use: days from 1970-01-01 to its date where the owner is
	Threshold int    // percent; 0 for kinds that have none
	Used, Max int64  // in the limit's unit; 0 for OwnerParent
	At        time.Time
}

const maxTextBytes = 255

// The times that events may have.
var (
	firstTime = time.Unix(0, 0)
	lastTime  = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
)

// check refuses what is no event: Record is called in transactions that must not fail for one.
func (e Event) check() error {
	if e.Tenant == "" || e.Kind == "" || e.At.Before(firstTime) || !e.At.Before(lastTime) {
		return fmt.Errorf("alert: no tenant, kind or possible time in %+v", e)
	}
	if len(e.Tenant) > 64 || strings.Trim(e.Tenant, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-") != "" {
		return fmt.Errorf("alert: tenant id %q", e.Tenant) // the audit takes no other
	}
	for _, s := range []string{string(e.Kind), e.Owner, e.OwnerID, e.LimitID, e.Signal} {
		if len(s) > maxTextBytes || !utf8.ValidString(s) || strings.ContainsRune(s, 0) { // PostgreSQL takes no other
			return fmt.Errorf("alert: text %.40q of %d bytes", s, len(s))
		}
	}
	if e.Threshold < 0 || e.Used < 0 || e.Max < 0 {
		return fmt.Errorf("alert: negative number in %+v", e)
	}
	// SECURITY: an ancestor's use is the sum over siblings, and its id their common name.
	if e.Owner == OwnerParent && (e.OwnerID != "" || e.Used != 0 || e.Max != 0) {
		return fmt.Errorf("alert: tells tenant %s of its parent", e.Tenant)
	}
	return nil
}

// Crossed returns the thresholds that lie above before and not above after, of a limit of max: those whose events are due
// when a sum has grown. There are none for a max of 0 or less.
func Crossed(before, after, max int64) []int {
	if max <= 0 {
		return nil
	}
	var out []int
	for _, t := range Thresholds {
		if at := amount(max, int64(t)); before < at && at <= after {
			out = append(out, t)
		}
	}
	return out
}

// amount returns the smallest number that is percent of max or more. It cannot overflow.
func amount(max, percent int64) int64 {
	return max/100*percent + (max%100*percent+99)/100
}
