package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestTenantsShareAllRows(t *testing.T) {
	sum, shares := 0.0, sizes(50)
	for _, s := range shares {
		sum += s
	}
	if math.Abs(sum-1) > 1e-9 || shares[0] < 20*shares[9]*.9 {
		t.Errorf("shares sum to %v, the first is %v and the tenth %v", sum, shares[0], shares[9])
	}
	m := rowMaker{rows: 20_000_000}
	for _, s := range shares {
		m.tenants = append(m.tenants, readingTenant{Share: s})
	}
	total, begin := m.series(pointKinds[0])
	for i, b := range begin[1:] {
		if b <= begin[i] {
			t.Errorf("tenant %d has no series: %v", i+1, begin)
		}
	}
	if begin[len(begin)-1] != total || begin[1] < 1200 {
		t.Errorf("series begin at %v, want %d at the end and 1200 of the first: questions ask for so many", begin, total)
	}
}

// TestQuestionsNameOneTenant: the comparison is with SQL that reads no other tenant's rows either.
func TestQuestionsNameOneTenant(t *testing.T) {
	s := sample{readingTenant: readingTenant{ID: "T1"}, service: "s", pod: "p", request: "r", trace: "t"}
	end := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, q := range questions {
		sql := q.text(q.sql, s, end)
		if reads := strings.Count(sql, " FROM otel_"); reads == 0 || strings.Count(sql, "TenantId = 'T1'") != reads {
			t.Errorf("%s: a table is read without its tenant: %s", q.name, sql)
		}
		if (q.oql == "") == (q.path == "") {
			t.Errorf("%s is asked in no way or in two", q.name)
		}
		for _, text := range []string{sql, q.text(q.oql+q.path, s, end)} {
			if strings.Contains(strings.ReplaceAll(text, "/{id}", ""), "{") {
				t.Errorf("%s: nothing was put in place of %s", q.name, text)
			}
		}
	}
}
