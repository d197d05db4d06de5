package storage

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/schema"
)

// counts are what a Counter says of a signal, in its order.
func counts(t *testing.T, c Counter, signal string, from, to int64, only tenant.ID) (tenants, runs []string) {
	t.Helper()
	err := c.UnsafeByTenant(t.Context(), signal, from, to, only, func(hour int64, id string, n int64) error {
		tenants = append(tenants, fmt.Sprint(hour, id, n))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = c.UnsafeByRun(t.Context(), signal, from, to, func(hour int64, run uint64, n int64) error {
		runs = append(runs, fmt.Sprint(hour, " ", run, " ", n))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tenants, runs
}

// Records are counted once, over all tables of their signal, by the hour of receipt, whole hours from the first to before the
// last, in the order of hours and then of bytes.
func TestCounterCountsRecords(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	c := Counter{Conn: conn}
	const first = 1_800_000_000 // a full hour
	insert := func(table, column, more string, rows ...string) {
		t.Helper()
		for _, r := range rows {
			if err := conn.Exec(t.Context(), "INSERT INTO "+table+" (TenantId, ReceivedAt, RunId, Partition, RetentionDays, "+column+more+") VALUES "+r); err != nil {
				t.Fatal(err)
			}
		}
	}
	row := func(id string, received int64, run uint64, more string) string {
		return fmt.Sprintf("('%s', %d, %d, 'shared-00', 3650, 1%s)", id, received, run, more)
	}
	insert(schema.Logs, "Timestamp", "", row("b", first, 1, ""), row("a", first+3599, 1, ""), row("B", first+3599, 1<<63+1, ""),
		row("a", first-1, 1, ""), row("a", first+3600, 2, ""), row("a", first+3600, 3, ""), row("a", first+7200, 4, ""))
	insert(schema.MetricsGauge, "TimeUnix", "", row("a", first, 1, ""))
	insert(schema.MetricsSummary, "TimeUnix", "", row("a", first+1, 1, ""), row("b", first+1, 1, ""))
	insert(schema.Profiles, "Timestamp", ", SampleIndex", row("a", first, 1, ", 0"), row("a", first, 1, ", 1"), row("a", first+1, 1, ", 0"))
	for signal, want := range map[string][2][]string{
		"logs": {{fmt.Sprint(first, "B", 1), fmt.Sprint(first, "a", 1), fmt.Sprint(first, "b", 1), fmt.Sprint(first+3600, "a", 2)},
			{fmt.Sprint(first, " 1 2"), fmt.Sprint(first, " 9223372036854775809 1"), fmt.Sprint(first+3600, " 2 1"), fmt.Sprint(first+3600, " 3 1")}},
		"metrics":  {{fmt.Sprint(first, "a", 2), fmt.Sprint(first, "b", 1)}, {fmt.Sprint(first, " 1 3")}},
		"profiles": {{fmt.Sprint(first, "a", 2)}, {fmt.Sprint(first, " 1 2")}},
		"traces":   {},
	} {
		tenants, runs := counts(t, c, signal, first, first+7200, tenant.ID{})
		if !slices.Equal(tenants, want[0]) || !slices.Equal(runs, want[1]) {
			t.Errorf("%s: %q and %q, want %q", signal, tenants, runs, want)
		}
	}
	if tenants, _ := counts(t, c, "logs", first, first+7200, id(t, "a")); !slices.Equal(tenants, []string{fmt.Sprint(first, "a", 1), fmt.Sprint(first+3600, "a", 2)}) {
		t.Errorf("one tenant: %q", tenants)
	}
	tables, err := c.UnsafeTables(t.Context(), "metrics", first, "a")
	if err != nil || len(tables) != 5 || tables[schema.MetricsGauge] != 1 || tables[schema.MetricsSummary] != 1 || tables[schema.MetricsSum] != 0 {
		t.Errorf("tables: %v %v", tables, err)
	}
	if err := c.UnsafeByTenant(t.Context(), "smoke", first, first+1, tenant.ID{}, nil); err == nil {
		t.Error("an unknown signal was counted")
	}
	stop := fmt.Errorf("enough")
	if err := c.UnsafeByTenant(t.Context(), "logs", first, first+7200, tenant.ID{}, func(int64, string, int64) error { return stop }); err != stop {
		t.Errorf("an error of each is %v", err)
	}
}

// Every table is counted in exactly one signal.
func TestCounterKnowsEveryTable(t *testing.T) {
	var all []string
	for _, s := range Signals {
		all = append(all, tablesOf[s]...)
	}
	if !slices.Equal(all, schema.Tables) {
		t.Errorf("counted are %v, want %v", all, schema.Tables)
	}
}

// What is set aside is told with the receipt while none of its rows is stored, and by rows afterwards; a file that is cut
// short is an error.
func TestCounterTellsWhatIsSetAside(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	l, c := r.log, Counter{Log: r.log}
	entry := func(signal string, receipt []byte, rows ...int) []byte {
		h := head{signal: signal, tenant: "a", received: 7, receipt: receipt}
		for i, n := range rows {
			h.tables = append(h.tables, tableHead{table: tablesOf["metrics"][i], partition: "p", rows: n})
		}
		return h.appendTo(nil)
	}
	var got []string
	each := func(signal, id string, received int64, receipt []byte, records int64) error {
		got = append(got, fmt.Sprintf("%s %s %d %q %d", signal, id, received, receipt, records))
		return nil
	}
	for i, a := range []aside{
		{entry: entry("metrics", []byte("r"), 2, 3), reason: "whole"},
		{entry: entry("metrics", []byte("r"), 2, 3), tables: tablesOf["metrics"][1:2], reason: "one table"},
		{entry: entry("metrics", nil, 4), reason: "a replay"},
		{entry: entry("profiles", nil, 4), reason: "a replay of profiles"},
		{entry: []byte("what?"), reason: "not understood"},
	} {
		a.at = position(i)
		if err := l.setAside(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.UnsafeAside(t.Context(), each); err != nil {
		t.Fatal(err)
	}
	want := []string{`metrics a 7 "r" 5`, `metrics a 7 "" 3`, `metrics a 7 "" 4`, `profiles a 7 "" -1`}
	if !slices.Equal(got, want) {
		t.Errorf("set aside: %q, want %q", got, want)
	}
	if err := writeDurably(filepath.Join(l.opt.Dir, asideDir, "0000000000000000"+asideEntry), entry("metrics", nil, 1)[:9]); err != nil {
		t.Fatal(err)
	}
	if err := c.UnsafeAside(t.Context(), each); err == nil {
		t.Error("an entry that is cut short was told")
	}
}
