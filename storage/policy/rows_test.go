package policy_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/policy"
)

// TestRowsAreSeenOnlyWithACapability: on every table, a reader sees the rows of the tenants that its capability names, and
// none when that was not signed for exactly them.
func TestRowsAreSeenOnlyWithACapability(t *testing.T) {
	g := start(t)
	g.fill(3, "a", "b", "c")
	of := func(ids ...string) string { return g.key.Tenants(chtest.Scope(t, ids...)) }
	mac := func(ids ...string) string { return strings.SplitN(of(ids...), ":", 2)[0] }
	hash := sha256.Sum256([]byte("b"))
	cases := map[string]struct{ capability, want string }{
		"own":                       {of("a"), "a"},
		"two":                       {of("a", "c"), "a,c"},
		"three":                     {of("a", "b", "c"), "a,b,c"},
		"tenant without rows":       {of("nobody"), ""},
		"own id as a prefix":        {of("aa"), ""},
		"other case":                {of("A"), ""},
		"none":                      {"", ""},
		"no mac":                    {"b", ""},
		"empty mac":                 {":b", ""},
		"zeros":                     {strings.Repeat("0", 64) + ":b", ""},
		"plain hash":                {hex.EncodeToString(hash[:]) + ":b", ""},
		"other key":                 {policy.NewKey().Tenants(chtest.Scope(t, "b")), ""},
		"other key's everything":    {policy.NewKey().Internal(), ""},
		"replayed for another":      {mac("a") + ":b", ""},
		"tenant added":              {of("a") + ",b", ""},
		"tenant put first":          {mac("a") + ":b,a", ""},
		"tenant taken away":         {mac("a", "b") + ":b", ""},
		"order changed":             {mac("a", "b") + ":b,a", ""},
		"everything with own mac":   {mac("a") + ":*", ""},
		"everything unsigned":       {":*", ""},
		"mac cut":                   {of("a")[1:], ""},
		"mac cut at its end":        {mac("a")[:63] + ":a", ""},
		"mac longer":                {"0" + of("a"), ""},
		"mac in capitals":           {strings.ToUpper(mac("a")) + ":a", ""},
		"one bit":                   {flip(of("a")), ""},
		"mac alone":                 {mac("a"), ""},
		"mac and nothing":           {mac("a") + ":", ""},
		"without the colon":         {mac("a") + "a", ""},
		"other separator":           {mac("a") + ";a", ""},
		"blank before":              {" " + of("a"), ""},
		"blank behind":              {of("a") + " ", ""},
		"zero byte behind":          {of("a") + "\x00", ""},
		"quoted":                    {"'" + of("a") + "'", ""},
		"continued with md padding": {of("a") + "\x80" + strings.Repeat("\x00", 54) + "\x08,b", ""},
		"long":                      {strings.Repeat("x", 100_000), ""},
		"sql":                       {"' OR 1 = 1 --", ""},
	}
	for what, c := range cases {
		tables := policy.Tables()
		if c.want == "" && what != "none" && what != "tenant added" { // all tables have the same policy: see below
			tables = tables[:1]
		}
		for _, table := range tables {
			want := "0\t"
			if c.want != "" {
				want = fmt.Sprintf("%d\t%s", 3*len(strings.Split(c.want, ",")), c.want)
			}
			if got, err := g.ask(g.reader, c.capability, "SELECT count(), arrayStringConcat(arraySort(groupUniqArray(toString(TenantId))), ',') FROM "+table); err != nil || got != strings.TrimSpace(want) {
				t.Errorf("%s: %s: %q, %v, want %q", table, what, got, err, want)
			}
		}
	}
}

// TestReaderHasNoCapabilityByItself: without the setting a statement of the reader's sees nothing, and the writer's everything.
func TestReaderHasNoCapabilityByItself(t *testing.T) {
	g := start(t)
	g.fill(3, "a", "b")
	var n uint64
	if err := g.reader.QueryRow(t.Context(), "SELECT count() FROM otel_logs").Scan(&n); err != nil || n != 0 {
		t.Errorf("reader: %d rows, %v, want none", n, err)
	}
	if err := g.writer.QueryRow(t.Context(), "SELECT count() FROM otel_logs").Scan(&n); err != nil || n != 6 {
		t.Errorf("writer: %d rows, %v, want all 6", n, err)
	}
}

func flip(s string) string {
	c := byte('0')
	if s[10] == c {
		c = '1'
	}
	return s[:10] + string(c) + s[11:]
}

// TestEveryTableHasThePolicy: no table of the schema that has tenants' rows is without, also one that a later migration adds.
func TestEveryTableHasThePolicy(t *testing.T) {
	g := start(t)
	own := g.key.Internal()
	missing, err := g.ask(g.writer, own, `SELECT table FROM system.columns WHERE database = 'headgate' AND name = 'TenantId'
		AND table NOT IN (SELECT table FROM system.row_policies WHERE database = 'headgate')`)
	if err != nil || missing != "" {
		t.Errorf("tables without a policy: %q, %v", missing, err)
	}
	policies, err := g.ask(g.writer, own, "SELECT count(), uniq(select_filter), min(is_restrictive) FROM system.row_policies WHERE database = 'headgate'")
	if want := fmt.Sprintf("%d\t1\t0", len(policy.Tables())); err != nil || policies != want {
		t.Errorf("policies, different conditions = %q, %v, want %q", policies, err, want)
	}
}

// TestPolicyFoldsAndPrunes: of many tenants' granules only those of the capability are read, with no condition of the query's.
func TestPolicyFoldsAndPrunes(t *testing.T) {
	g := start(t)
	g.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, ReceivedAt, Timestamp) SELECT leftPad(toString(number % 50), 3, '0'), 'shared-00', 30, now(), now() FROM numbers(300000)")
	g.exec("OPTIMIZE TABLE otel_logs FINAL")
	plan, err := g.ask(g.writer, g.key.Tenants(chtest.Scope(t, "007", "031")), "EXPLAIN indexes = 1 SELECT sum(SeverityNumber) FROM otel_logs")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(plan, "TenantId in 2-element set") || !strings.Contains(plan, "0 OR TenantId IN") {
		t.Errorf("plan %s: want the policy folded to a set of two tenants", plan)
	}
	var read, all int
	for line := range strings.SplitSeq(plan, ";") {
		_, _ = fmt.Sscanf(strings.TrimSpace(line), "Granules: %d/%d", &read, &all) // the primary key's are the last
	}
	if all < 25 || read == 0 || read > all/10 {
		t.Errorf("granules read: %d of %d, want those of 2 of 50 tenants\n%s", read, all, plan)
	}
	if strings.Contains(plan, "unhex") || strings.Contains(plan, "SHA256") {
		t.Errorf("the plan shows the key: %s", plan)
	}
}
