package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Dropped is what a log held of a tenant that was being deleted, and did not take to ClickHouse. Receipts are not dropped: what
// was acked is billed.
type Dropped struct {
	Requests int `json:"requests"`
	Rows     int `json:"rows"`
	Aside    int `json:"set_aside"` // requests that ClickHouse had refused, whose files were removed
}

func (d Dropped) plus(o Dropped) Dropped {
	return Dropped{d.Requests + o.Requests, d.Rows + o.Rows, d.Aside + o.Aside}
}

// purge is what a log knows of deletions.
type purge struct {
	mu      sync.Mutex
	dropped map[string]Dropped // since the start, by tenant
}

// isGone asks once per tenant and plan, so that all of a run's requests are treated alike.
func (p *plan) isGone(l *Log, tenant string) bool {
	gone, known := p.gone[tenant]
	if !known {
		gone = l.opt.Gone != nil && l.opt.Gone(tenant)
		p.gone[tenant] = gone
	}
	return gone
}

// drop leaves out the rows of a request for the tables of its run; nil is all.
func (p *plan) drop(h head, tables []string) {
	d := Dropped{Requests: 1}
	for _, t := range h.tables {
		if tables == nil || slices.Contains(tables, t.table) {
			d.Rows += t.rows
		}
	}
	p.dropped[h.tenant] = p.dropped[h.tenant].plus(d)
}

// purged counts what a settled run has dropped.
func (l *Log) purged(dropped map[string]Dropped) {
	for tenant, d := range dropped {
		l.metrics.purged.Add(float64(d.Rows))
		l.countDropped(tenant, d)
	}
}

func (l *Log) countDropped(tenant string, d Dropped) {
	l.purge.mu.Lock()
	defer l.purge.mu.Unlock()
	if l.purge.dropped == nil {
		l.purge.dropped = map[string]Dropped{}
	}
	l.purge.dropped[tenant] = l.purge.dropped[tenant].plus(d)
}

// Cleared reports whether this process will send no row of a tenant to ClickHouse any more, and what it has dropped since its
// start. since is when LogOptions.Gone first said that the tenant is gone; it must say so still.
//
// A run that was planned before that may be under way with rows of the tenant: it counts until it is settled. Whatever is
// planned later drops them.
func (l *Log) Cleared(id tenant.ID, since time.Time) (Dropped, bool) {
	l.mu.Lock()
	waits, oldest := false, l.oldestReceivedLocked()
	for _, ln := range l.lanes {
		waits = waits || ln.backlog.tenants[id.String()] != nil
	}
	l.mu.Unlock()
	l.purge.mu.Lock()
	defer l.purge.mu.Unlock()
	// The second holds too where a damaged entry was given up, of which nobody knows whose it was.
	return l.purge.dropped[id.String()], !waits || oldest > since.UnixNano()
}

// purgeAside removes the requests of gone tenants that were set aside.
func (l *Log) purgeAside() error {
	if l.opt.Gone == nil {
		return nil
	}
	dir := filepath.Join(l.opt.Dir, asideDir)
	files, err := filepath.Glob(filepath.Join(dir, "*"+asideReason))
	var errs error
	for _, path := range files {
		var r Rejected
		text, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(text, &r) != nil || r.Tenant == "" || !l.opt.Gone(r.Tenant) {
			continue // ListRejected says what cannot be read
		}
		n, err := removeAside(strings.TrimSuffix(path, asideReason))
		l.countDropped(r.Tenant, Dropped{Aside: n})
		errs = errors.Join(errs, err)
		errs = errors.Join(errs, syncDir(dir))
	}
	if err := errors.Join(err, errs); err != nil {
		return fmt.Errorf("remove what was set aside: %w", err)
	}
	return nil
}

// removeAside removes the files of one request, and returns how many were its entry. The reason's file is the last, and stays with an
// entry that cannot be removed, since it says whose that is.
func removeAside(base string) (entries int, err error) {
	for _, suffix := range []string{asideEntry, asideReplay, asideReason} {
		err := os.Remove(base + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return entries, err
		}
		if err == nil && suffix != asideReason {
			entries++
		}
	}
	return entries, nil
}

// AsideOf returns how many requests of a tenant are set aside in this process's log.
func (l *Log) AsideOf(id tenant.ID) (n int, err error) {
	all, err := ListRejected(l.opt.Dir)
	for _, r := range all {
		if r.Tenant == id.String() {
			n++
		}
	}
	return n, err
}
