package query

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errBusy is returned by gate.enter when there is no place in time.
var errBusy = errors.New("too many queries at once")

// How an account's next query is guessed from those before. Its weight is the mean of what they took, or more where one
// runs longer now, or where all together took more time lately than is leaked: then a thirtieth of that, so that long
// queries between many short ones are seen too.
const (
	meanShare = 0.3 // of the last query in the mean
	leak      = 0.5 // of each second
	owedShare = 30
	mostOwed  = 5 * time.Minute
	// heavy is the weight from which on an account is heavy.
	heavy = time.Second / 4
	// long is the weight from which on more queries at a time than there are processors end no sooner, and that of an account
	// that is not known yet: its first query shows.
	long = time.Second
	// lately is how long an account counts as being there after it came last.
	lately = 3 * time.Second
	// remembered is how long an account is known after it came last.
	remembered = 10 * time.Minute
)

// gate gives out seats to run a query in: so many in all, so many to one account. Who finds none waits in line, behind
// at most so many of the same account.
//
// What others find in their way is all that an account has running. So while they are there its seats are fewer the longer its
// queries take (Limits.seats), and all heavy accounts together have half of them but for the first query of an account. In line
// the account with the fewest running queries is first, then who came first. Safe for concurrent use.
type gate struct {
	max int
	now func() time.Time

	mu       sync.Mutex
	running  int                 // guarded by mu
	heavy    int                 // of them the heavy seats; guarded by mu
	accounts map[string]*account // guarded by mu
	last     [2]arrival          // of the two accounts that came last, the later first; guarded by mu
	swept    time.Time           // guarded by mu
	line     []*waiter           // guarded by mu
}

// account is what the gate knows of who asks.
type account struct {
	seats map[*seat]bool
	known bool          // a query of it has ended
	mean  time.Duration // of those that did
	owed  time.Duration // what they took beyond leak, as of at
	at    time.Time
	came  time.Time // last
}

type arrival struct {
	account string
	at      time.Time
}

// seat is a place that was given out.
type seat struct {
	account string
	weight  time.Duration // of the account then
	heavy   bool          // of a heavy account while others were there
	began   time.Time
}

type waiter struct {
	account string
	limits  *Limits
	in      chan *seat // has room for the one seat
}

func newGate(limit int) *gate {
	return &gate{max: limit, now: time.Now, accounts: map[string]*account{}}
}

// enter takes a seat, which goes back by leave. It fails with errBusy, or when ctx ends.
func (g *gate) enter(ctx context.Context, name string, l *Limits) (*seat, error) {
	g.mu.Lock()
	g.arriveLocked(name)
	if s := g.takeLocked(name, l); s != nil {
		g.mu.Unlock()
		return s, nil
	}
	waiting := 0
	for _, w := range g.line {
		if w.account == name {
			waiting++
		}
	}
	if waiting >= l.WaitingPerTenant {
		g.mu.Unlock()
		return nil, errBusy
	}
	w := &waiter{account: name, limits: l, in: make(chan *seat, 1)}
	g.line = append(g.line, w)
	g.mu.Unlock()

	timer := time.NewTimer(l.MaxWait)
	defer timer.Stop()
	var err error
	select {
	case s := <-w.in:
		return s, nil
	case <-timer.C:
		err = errBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	g.mu.Lock()
	if i := slices.Index(g.line, w); i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		g.mu.Unlock()
		return nil, err
	}
	g.mu.Unlock()
	s := <-w.in // it came in the last moment
	if ctx.Err() == nil {
		return s, nil
	}
	g.leave(s)
	return nil, err
}

// leave gives a seat back.
func (g *gate) leave(s *seat) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	a := g.accounts[s.account]
	a.ended(now, now.Sub(s.began))
	delete(a.seats, s)
	g.running--
	if s.heavy {
		g.heavy--
	}
	for g.admitLocked() {
	}
}

// admitLocked gives one seat to who is first in line of those that may have one.
func (g *gate) admitLocked() bool {
	order := slices.Clone(g.line)
	slices.SortStableFunc(order, func(a, b *waiter) int {
		return len(g.accounts[a.account].seats) - len(g.accounts[b.account].seats)
	})
	for _, w := range order {
		if s := g.takeLocked(w.account, w.limits); s != nil {
			w.in <- s
			i := slices.Index(g.line, w)
			g.line = slices.Delete(g.line, i, i+1)
			return true
		}
	}
	return false
}

// takeLocked gives a seat to an account that arrived, nil if it may not have one now.
func (g *gate) takeLocked(name string, l *Limits) *seat {
	a, now := g.accounts[name], g.now()
	if g.running >= g.max {
		return nil
	}
	s := &seat{account: name, began: now, weight: a.weight(now)}
	others := g.othersLocked(name, now)
	s.heavy = others && s.weight >= heavy
	if len(a.seats) >= l.seats(s.weight, others) || s.heavy && a.known && g.heavy >= max(1, g.max/2) {
		return nil
	}
	if s.heavy {
		g.heavy++
	}
	a.seats[s] = true
	g.running++
	return s
}

// arriveLocked notes that an account is there, and forgets those that are not and owe nothing.
func (g *gate) arriveLocked(name string) {
	now := g.now()
	if g.last[0].account != name {
		g.last[1] = g.last[0]
	}
	g.last[0] = arrival{name, now}
	if g.accounts[name] == nil {
		g.accounts[name] = &account{seats: map[*seat]bool{}, at: now}
	}
	g.accounts[name].came = now
	if now.Sub(g.swept) < time.Minute {
		return
	}
	g.swept = now
	for other, a := range g.accounts {
		waits := slices.ContainsFunc(g.line, func(w *waiter) bool { return w.account == other })
		if len(a.seats) == 0 && !waits && now.Sub(a.came) > remembered {
			delete(g.accounts, other)
		}
	}
}

// othersLocked reports whether any account but name is there.
func (g *gate) othersLocked(name string, now time.Time) bool {
	if len(g.accounts[name].seats) < g.running {
		return true
	}
	other := g.last[0]
	if other.account == name {
		other = g.last[1]
	}
	return other.account != "" && now.Sub(other.at) < lately
}

// ended notes a query that took so long.
func (a *account) ended(now time.Time, took time.Duration) {
	a.owed = min(a.debt(now)+took, mostOwed)
	a.at = now
	if !a.known {
		a.known, a.mean = true, took
	}
	a.mean += time.Duration(meanShare * float64(took-a.mean))
}

func (a *account) debt(now time.Time) time.Duration {
	return max(0, a.owed-time.Duration(leak*float64(now.Sub(a.at))))
}

// weight is how long the account's next query is likely to run.
func (a *account) weight(now time.Time) time.Duration {
	w := a.mean
	if !a.known {
		w = long
	}
	w = max(w, a.debt(now)/owedShare)
	for s := range a.seats {
		w = max(w, now.Sub(s.began))
	}
	return w
}
