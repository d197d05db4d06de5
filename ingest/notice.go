package ingest

import (
	"fmt"
	"sync"
	"time"

	"github.com/headgate-io/headgate/metering"
)

// thresholds are the parts of a limit, in percent, from which on answers warn of it: exporters log what a success says, so
// people read of a limit before it is reached.
var thresholds = [...]int{80, 90, 95, 99}

// noticeEvery is how long a key is not warned of the same threshold again: exporters log each warning.
const noticeEvery = time.Minute

// maxNotices bounds the keys that are warned per minute and threshold. More are not warned; the fields of their answers say the
// same.
const maxNotices = 8192

type noticeKey struct {
	key       string
	threshold int
}

// notices knows who was warned of late. It is safe for concurrent use.
type notices struct {
	mu            sync.Mutex // guards the fields below
	last, earlier map[noticeKey]time.Time
	turned        time.Time // when last became earlier: what is in neither is longer ago than noticeEvery
}

func newNotices() *notices {
	return &notices{last: map[noticeKey]time.Time{}, earlier: map[noticeKey]time.Time{}}
}

// due reports whether a key is to be warned that a part of its limit is used, and takes note that it was.
func (n *notices) due(key string, percent int, now time.Time) bool {
	k := noticeKey{key: key}
	for _, t := range thresholds {
		if percent >= t {
			k.threshold = t
		}
	}
	if k.threshold == 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// A clock that was set back counts as time passed: it must not silence anybody for as long.
	if now.Sub(n.turned).Abs() >= noticeEvery {
		n.last, n.earlier, n.turned = n.earlier, n.last, now
		clear(n.last)
	}
	for _, seen := range []map[noticeKey]time.Time{n.last, n.earlier} {
		if at, ok := seen[k]; ok && now.Sub(at).Abs() < noticeEvery {
			return false
		}
	}
	if len(n.last) >= maxNotices {
		return false
	}
	n.last[k] = now
	return true
}

// notice is what an answer says of a limit that is nearly used up.
func notice(q metering.Quota) string {
	what := "daily byte limit"
	if q.Signal != "" {
		what += " for " + string(q.Signal)
	}
	outlook := "at the present pace it lasts until then"
	switch {
	case q.Remaining == 0 && q.Billed:
		outlook = "what comes until then is billed as overage"
	case q.Remaining == 0:
		outlook = "nothing more is taken until then"
	case !q.ExhaustedAt.IsZero():
		outlook = "at the present pace it is used up at " + q.ExhaustedAt.Format(time.RFC3339)
	}
	return fmt.Sprintf("%s is %d%% used: %d of %d, resets %s; %s (%s)", what, q.Percent(), q.Used, q.Limit,
		q.Reset.Format(time.RFC3339), outlook, q.ID)
}

// remark adds a notice to what a success says.
func (p *partial) remark(notice string) {
	if p.message != "" && notice != "" {
		p.message += "; "
	}
	p.message += notice
}
