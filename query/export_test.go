package query

// Places counts what the gate of r has given out, and what waits for it.
func (r *Reader) Places() (running, heavy, seats, waiting int) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.accounts {
		seats += len(a.seats)
	}
	return g.running, g.heavy, seats, len(g.line)
}
