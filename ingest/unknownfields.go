package ingest

import (
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// newerEvery is how long the log does not say again that a tenant sends fields that are not known.
const newerEvery = time.Hour

// newer knows whose unknown fields the log told of since a time: at most one entry a tenant. It is safe for concurrent use.
type newer struct {
	mu    sync.Mutex // guards the fields below
	since time.Time
	told  map[tenant.ID]bool
}

// due reports whether the log is to tell of the tenant at now, and takes it that it does.
func (n *newer) due(t tenant.ID, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.since).Abs() >= newerEvery {
		n.since, n.told = now, map[tenant.ID]bool{}
	}
	if n.told[t] {
		return false
	}
	n.told[t] = true
	return true
}

// tellUnknown counts the fields of an acked request that were passed over because this version does not know them.
func (r *receiver) tellUnknown(c call, fields int, now time.Time) {
	if fields == 0 {
		return
	}
	r.metrics.unknown.WithLabelValues(c.signal.String()).Add(float64(fields))
	if id := c.principal.Tenant(); r.newer.due(id, now) {
		r.log.Warn("unknown fields are not stored", "tenant", id.String(), "key_id", c.principal.KeyID(), "signal", c.signal.String(), "fields", fields)
	}
}
