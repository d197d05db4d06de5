package control

import (
	"context"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/tenant"
)

// noRows is a ClickHouse without rows, which is right for a ledger without records.
type noRows struct{}

func (noRows) UnsafeByTenant(context.Context, string, int64, int64, tenant.ID, func(int64, string, int64) error) error {
	return nil
}

func (noRows) UnsafeByRun(context.Context, string, int64, int64, func(int64, uint64, int64) error) error {
	return nil
}

func (noRows) UnsafeTables(context.Context, string, int64, string) (map[string]int64, error) {
	return nil, nil
}

func (noRows) UnsafeAside(context.Context, func(string, string, int64, []byte, int64) error) error {
	return nil
}

func (noRows) Recorded(uint64) bool { return false }

// The last comparison is shown once there is one; its answer ends with the report.
func TestUsageIsVerifiedAndTheReportKept(t *testing.T) {
	s := start(t)
	s.refused(404, "not-verified", s.operator, "GET", "/api/v1/usage/verify", "")
	status, text := s.call(s.operator, "POST", "/api/v1/usage/verify", `{}`)
	if lines := strings.Split(strings.TrimSpace(text), "\n"); status != 200 || !strings.HasPrefix(lines[len(lines)-1], `{"report":{`) {
		t.Errorf("verify: %d %s", status, text)
	}
	if status, text := s.call(s.operator, "GET", "/api/v1/usage/verify", ""); status != 200 || !strings.Contains(text, `"drift":[]`) {
		t.Errorf("the last report: %d %s", status, text)
	}
	s.refused(400, "invalid-argument", s.operator, "POST", "/api/v1/usage/verify", `{"from":"yesterday"}`)
	s.refused(404, "not-found", s.operator, "POST", "/api/v1/usage/verify", `{"tenant":"nobody"}`)
}
