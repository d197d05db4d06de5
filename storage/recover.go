package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// recover finds out what is unfinished: requests that no run has taken wait again, and runs that the ledger does not know
// are unsettled, since nobody can tell how far they came. It reads heads only and keeps positions only.
func (l *Log) recover(ctx context.Context) error {
	if err := l.recent.load(l.opt.Dir); err != nil {
		l.log.Warn("requests that are sent again may be stored again", "err", err)
	}
	lastRun, err := l.opt.Ledger.NewestRun(ctx)
	if err != nil {
		return fmt.Errorf("ask the ledger for its runs: %w", err)
	}
	l.lastRun = lastRun
	var runs []*run
	err = l.wal.ScanHeads(func(at position, prefix []byte, size int) error {
		if len(prefix) == 0 || prefix[0] != kindRuns {
			return nil
		}
		recorded, err := l.readRuns(at, prefix, size)
		for _, r := range recorded {
			l.recorded[r.id] = at
			l.lastRun = max(l.lastRun, r.id)
		}
		runs = append(runs, recorded...)
		return err
	})
	if err != nil {
		return err
	}
	done, unsettled, err := l.sort(ctx, runs)
	if err != nil {
		return err
	}
	return l.resume(done, unsettled)
}

// readRuns reads the runs entry at at, which has size bytes and begins with prefix.
func (l *Log) readRuns(at position, prefix []byte, size int) (runs []*run, err error) {
	if len(prefix) < size {
		if prefix, err = l.wal.Read(at, nil); err != nil {
			return nil, fmt.Errorf("read runs at %s: %w", at, err)
		}
	}
	if runs, err = parseRuns(prefix); err != nil {
		err = fmt.Errorf("read runs at %s: %w", at, err)
	}
	return runs, err
}

// sort returns the requests of all runs that the ledger has, and the runs that it does not have. A request counts for the
// last of its runs: the others were split, or were never sent because recording them failed, which may leave their record
// all the same.
func (l *Log) sort(ctx context.Context, runs []*run) (done map[position]bool, unsettled []*run, err error) {
	ids := make([]uint64, len(runs))
	last := map[position]uint64{}
	for i, r := range runs {
		ids[i] = r.id
		for _, p := range r.entries {
			last[p] = r.id
		}
	}
	applied, err := l.opt.Ledger.Applied(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the ledger for runs: %w", err)
	}
	done = map[position]bool{}
	for _, r := range runs {
		r.entries = slices.DeleteFunc(r.entries, func(p position) bool { return last[p] != r.id })
		if !applied[r.id] {
			unsettled = append(unsettled, r)
			continue
		}
		for _, p := range r.entries {
			done[p] = true
		}
	}
	return done, unsettled, nil
}

// resume puts the requests that are not done into the backlogs, those of unsettled runs before all others.
func (l *Log) resume(done map[position]bool, unsettled []*run) error {
	inRun := map[position]bool{} // and whether it was found
	for _, r := range unsettled {
		for _, p := range r.entries {
			inRun[p] = false
		}
	}
	waiting := 0
	err := l.wal.ScanHeads(func(at position, prefix []byte, size int) error {
		if len(prefix) > 0 && prefix[0] == kindRuns {
			return nil
		}
		h, err := l.readHead(at, prefix)
		if err == nil {
			l.recent.add(h.print, h.rejected, time.Unix(0, h.received))
		}
		if done[at] {
			return nil
		}
		ln := l.lanes[h.signal]
		if err != nil || ln == nil {
			return l.setAsideStrange(at, err)
		}
		if h.origin != "" {
			if err := l.removeReplayed(h.origin); err != nil {
				return fmt.Errorf("replay %s: %w", h.origin, err)
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		waiting++
		l.addLocked(at, h.received)
		if _, ok := inRun[at]; ok {
			inRun[at] = true
			ln.backlog.tenant(h.tenant).bytes += int64(size)
		} else {
			ln.pushLocked(h.tenant, pending{at: at, size: uint32(size)}, h.rows())
		}
		if l.opt.Restore != nil && len(h.receipt) > 0 {
			return l.opt.Restore(h.receipt)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range unsettled {
		// A request of the run that is not there was lost with a damaged segment; the others must not wait for it.
		r.entries = slices.DeleteFunc(r.entries, func(p position) bool { return !inRun[p] })
		if ln := l.lanes[r.signal]; ln != nil && len(r.entries) > 0 {
			r.sent = true
			ln.unsettled = append(ln.unsettled, r)
		}
	}
	if waiting > 0 {
		l.log.Info("the log has unfinished requests", "requests", waiting, "unsettled_runs", len(unsettled))
	}
	return nil
}

// readHead reads the head of the request at at, of which prefix is the beginning.
func (l *Log) readHead(at position, prefix []byte) (head, error) {
	n, err := headBytes(prefix)
	if err != nil {
		return head{}, err
	}
	if n > len(prefix) {
		if prefix, err = l.wal.Read(at, nil); err != nil {
			return head{}, err
		}
	}
	return parseHead(prefix)
}

// setAsideStrange sets an entry aside that this version does not understand: a newer one may.
func (l *Log) setAsideStrange(at position, cause error) error {
	entry, err := l.wal.Read(at, nil)
	if err != nil {
		return fmt.Errorf("read strange entry at %s: %w", at, err)
	}
	if cause == nil {
		cause = errors.New("unknown signal")
	}
	return l.setAside(aside{at: at, entry: entry, reason: fmt.Sprintf("not understood: %v", cause)})
}
