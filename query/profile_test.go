package query

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// TestProfileLetsEveryStatementPass: whatever a reader sends, of any tier and weight, is within the profile, and what protects
// tenants is nothing that a statement could change.
func TestProfileLetsEveryStatementPass(t *testing.T) {
	tiers := []Limits{{}, {MaxMemoryBytes: 1 << 30, MaxExecution: 1500 * time.Millisecond}, {MaxMemoryBytes: 8 << 30, MaxThreads: 2}}
	p := ProfileOf(tiers...)
	for _, l := range tiers {
		for _, s := range []*seat{{}, {heavy: true, weight: time.Hour}} {
			settings := l.withDefaults().settings()
			s.yield(settings)
			for name, value := range settings {
				bound, limited := p.AtMost[name]
				if !limited {
					bound, limited = p.Free[name]
				}
				if n, err := strconv.ParseFloat(fmt.Sprint(value), 64); limited && (err != nil || n > float64(bound) || n < 1) {
					t.Errorf("%s = %v, want 1 to %d", name, value, bound)
				}
				if fixed, ok := p.Fixed[name]; !limited && (!ok || fmt.Sprint(fixed) != fmt.Sprint(value)) {
					t.Errorf("%s = %v, and the profile has %v", name, value, fixed)
				}
			}
		}
	}
	for _, name := range []string{"use_query_cache", "use_query_condition_cache", "enable_multiple_prewhere_read_steps", "short_circuit_function_evaluation"} {
		if _, ok := p.Fixed[name]; !ok {
			t.Errorf("%s can be changed", name)
		}
	}
	if p.AtMost["max_memory_usage"] != 8<<30 || p.AtMost["max_execution_time"] != 30 {
		t.Errorf("limits %v, want those of the largest tier", p.AtMost)
	}
}
