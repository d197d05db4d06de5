// Package fleet lets the processes of one state database know of each other, so that a kind of them that is missing is seen. Nothing but
// what operators are told hangs on it: a process that cannot be seen works on.
package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/headgate-io/headgate/internal/store"
)

// All is the role of a process that does everything.
const All = "all"

// Roles are the roles that a deployment needs a process of each of, unless there is one of All.
var Roles = []string{"ingest", "query", "control"}

const (
	// interval is how often a process says that it is there, and looks who else is.
	interval = 5 * time.Second
	// seenFor is after what silence a process counts as gone. One that ends in good order is gone at once.
	seenFor = 20 * time.Second
	// keptFor is how long the last word of a process is kept.
	keptFor = 24 * time.Hour
	// commitTimeout bounds a transaction.
	commitTimeout = 5 * time.Second
)

// Process is one process, as it has said.
type Process struct {
	ID        string    `json:"id"` // its own, the same after a restart
	Role      string    `json:"role"`
	Host      string    `json:"host"` // for information
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	SeenAt    time.Time `json:"seen_at"`
}

// Options configures New. Now, ID and Role are required.
type Options struct {
	ID, Role, Host, Version string
	Now                     func() time.Time
	Logger                  *slog.Logger // nil discards
	Registry                prometheus.Registerer
}

// Member is this process among the others. It is safe for concurrent use.
type Member struct {
	db   *store.DB
	o    Options
	self Process
	m    *prometheus.GaugeVec // of processes by role

	mu      sync.Mutex // guards what follows
	seen    []Process  // at the last look
	missing []string
}

// New makes the member. Until Run has looked, nothing is missing.
func New(db *store.DB, o Options) *Member {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Member{db: db, o: o, self: Process{ID: o.ID, Role: o.Role, Host: o.Host, Version: o.Version, StartedAt: o.Now()},
		m: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "headgate_fleet_processes", Help: "Processes on the state database that were seen in the last 20 seconds.",
		}, []string{"role"})}
	for _, role := range append([]string{All}, Roles...) {
		m.m.WithLabelValues(role)
	}
	if o.Registry != nil {
		o.Registry.MustRegister(m.m)
	}
	return m
}

// Run says that this process is there, and looks who else is, until ctx ends; then it says that it is gone. What fails is tried again.
func (m *Member) Run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failing := false
	for {
		err := m.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			m.o.Logger.Warn("other processes cannot be seen", "err", err)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.leave(context.WithoutCancel(ctx))
			return nil
		}
	}
}

// look says that this process is there, and notes who else is.
func (m *Member) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	now := m.o.Now()
	var all []Process
	err := m.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO processes (id, role, host, version, started_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET role = excluded.role, host = excluded.host, version = excluded.version,
				started_at = excluded.started_at, seen_at = excluded.seen_at`,
			m.self.ID, m.self.Role, m.self.Host, m.self.Version, m.self.StartedAt.UnixMilli(), now.UnixMilli())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM processes WHERE seen_at < ?`, now.Add(-keptFor).UnixMilli()); err != nil {
			return err
		}
		all, err = query(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for other processes: %w", err)
	}
	m.note(all, now)
	return nil
}

// leave takes this process's row away. If that fails, the others notice by its silence.
func (m *Member) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := m.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM processes WHERE id = ?`, m.self.ID)
		return err
	})
	if err != nil {
		m.o.Logger.Warn("other processes were not told of the end", "err", err)
	}
}

func query(ctx context.Context, tx *store.Tx) (out []Process, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT id, role, host, version, started_at, seen_at FROM processes ORDER BY role, id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p Process
		var started, seen int64
		if err := rows.Scan(&p.ID, &p.Role, &p.Host, &p.Version, &started, &seen); err != nil {
			return nil, err
		}
		p.StartedAt, p.SeenAt = time.UnixMilli(started).UTC(), time.UnixMilli(seen).UTC()
		out = append(out, p)
	}
	return out, rows.Err()
}

// note keeps who was seen, and tells of roles that are missing or are there again.
func (m *Member) note(all []Process, now time.Time) {
	alive := map[string]int{}
	for _, p := range all {
		if now.Sub(p.SeenAt) <= seenFor {
			alive[p.Role]++
		}
	}
	for _, role := range append([]string{All}, Roles...) {
		m.m.WithLabelValues(role).Set(float64(alive[role]))
	}
	missing := absent(alive)
	m.mu.Lock()
	before := m.missing
	m.seen, m.missing = all, missing
	m.mu.Unlock()
	switch {
	case slices.Equal(before, missing):
	case len(missing) > 0:
		m.o.Logger.Warn("roles are missing: no process has them, and nobody does their work", "roles", strings.Join(missing, ", "))
	default:
		m.o.Logger.Info("every role has a process again")
	}
}

// absent are the roles that nobody has.
func absent(alive map[string]int) (missing []string) {
	for _, role := range Roles {
		if alive[role]+alive[All] == 0 {
			missing = append(missing, role)
		}
	}
	return missing
}

// Missing returns the roles that no process has, as of the last look.
func (m *Member) Missing() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.missing)
}

// Processes returns who has said that it is there within a day, by role, as of the last look; also who has not ended in good order.
func (m *Member) Processes() []Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.seen)
}
