package control

import (
	"context"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage"
)

// telemetry is rows of tenants that a test can keep from being deleted.
type telemetry struct {
	mu      sync.Mutex // guards what follows
	rows    map[string]uint64
	failing error
	cutOff  error  // of WritePart, after all rows
	between func() // WritePart's rows
}

func (f *telemetry) set(id string, rows uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows[id] = rows
}

func (f *telemetry) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing = err
}

func (f *telemetry) Cleared(tenant.ID, time.Time) (storage.Dropped, bool, error) {
	return storage.Dropped{}, true, nil
}

func (f *telemetry) Quiet(context.Context, time.Duration) error { return nil }

func (f *telemetry) Count(_ context.Context, id tenant.ID) ([]storage.TableCount, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []storage.TableCount{{Table: "otel_logs", Rows: f.rows[id.String()], Query: "SELECT count()"}}, nil
}

func (f *telemetry) Delete(_ context.Context, id tenant.ID, _ func(string)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing == nil {
		delete(f.rows, id.String())
	}
	return f.failing
}
