package query

import (
	"math/bits"
	"runtime"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// tiers are the sets of limits that an operator gives out to tenants.
type tiers struct {
	named map[string]Limits
	of    func(payer tenant.ID) string
}

func newTiers(opts ReaderOptions) tiers {
	t := tiers{named: map[string]Limits{}, of: opts.Tier}
	for name, l := range opts.Tiers {
		t.named[name] = l.withDefaults()
	}
	return t
}

// LimitsOf returns the limits that queries of a scope run under: those of the tenant that pays, whatever part of the scope
// is asked about.
func (r *Reader) LimitsOf(scope tenant.Scope) Limits {
	if r.tiers.of != nil {
		if l, ok := r.tiers.named[r.tiers.of(scope.Payer())]; ok {
			return l
		}
	}
	return r.limits
}

// seats is how many an account of this weight may have. While others are there that is as much work together as HeavyPerTenant
// queries of twice the weight heavy, so that whoever comes finds no more than that before it: an account of many middling
// queries at a time would slow others as much as one of few long ones.
func (l *Limits) seats(weight time.Duration, others bool) int {
	most := l.ConcurrentPerTenant
	switch {
	case others:
		most = l.HeavyPerTenant * int(max(1, 2*heavy/max(time.Millisecond, weight)))
	case weight >= long:
		most = max(l.HeavyPerTenant, runtime.NumCPU())
	}
	return min(most, l.ConcurrentPerTenant)
}

// yield adds to a statement's settings what makes it stand back for others. A heavy one gets half of the processors, so that
// another's has its share of them at once.
//
// The engine pauses a statement, block by block and for a second at most, while one of a smaller priority number runs: what
// is likely to be short goes before what is likely to be long.
func (s *seat) yield(settings map[string]any) {
	settings["priority"] = s.priority()
	if s.heavy {
		settings["max_block_size"] = heavyBlockRows // soon at the point where it is paused
		half := max(1, runtime.NumCPU()/2)
		if n, ok := settings["max_threads"].(int); !ok || n > half {
			settings["max_threads"] = half
		}
	}
}

// heavyBlockRows is an eighth of the engine's own.
const heavyBlockRows = 8192

// priority is 1 for a weight below an eighth of a second, and one more for each time that it doubles, to 9.
func (s *seat) priority() int {
	return 1 + min(bits.Len64(uint64(s.weight/(time.Second/8))), 8)
}
