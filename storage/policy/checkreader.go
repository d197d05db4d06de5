package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/storage/schema"
)

// forbidden are statements that a reader must be refused.
var forbidden = []struct{ what, sql string }{
	{"insert", "INSERT INTO otel_logs SELECT * FROM otel_logs WHERE 0"},
	{"create tables", "CREATE TABLE headgate_never (a UInt8) ENGINE = Memory"},
	{"create temporary tables", "CREATE TEMPORARY TABLE headgate_never (a UInt8)"},
	{"read policies", "SELECT throwIf(count() = 0) FROM system.row_policies"},
	{"read running statements", "SELECT throwIf(count() = 0) FROM system.processes"},
	{"reach other servers", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"},
	{"reach files", "SELECT * FROM file('headgate-never', 'LineAsString')"},
	{"leave readonly", "SET readonly = 0"},
	{"delete", "ALTER TABLE otel_logs DELETE WHERE 0"},
	{"drop tables", "DROP TABLE headgate_never"},
}

// confined looks whether the reader is refused what it must never do. A refusal is an answer of ClickHouse that tells of
// missing rights; statements that would do harm could do none, because what they name does not exist or is empty.
func (p Posture) confined(ctx context.Context) (Finding, error) {
	var may []string
	for _, f := range forbidden {
		err := p.Reader.Exec(ctx, f.sql)
		var answer *clickhouse.Exception
		switch {
		case errors.As(err, &answer) && (answer.Code == 164 || answer.Code == 497 || answer.Code == 395 && strings.HasPrefix(f.what, "read")):
		case errors.As(err, &answer), err == nil:
			may = append(may, f.what)
		default:
			return Finding{}, err
		}
	}
	if len(may) > 0 {
		return Finding{"reader", Fail, "the reading identity may " + strings.Join(may, ", "), p.advice()}, nil
	}
	return Finding{"reader", OK, "may only read", ""}, nil
}

// grants looks whether the reader may read the telemetry tables and nothing else, and whether its settings are bounded.
func (p Posture) grants(ctx context.Context) (Finding, error) {
	if p.embedded() {
		return Finding{}, nil // both identities are one user there; the engine itself refuses the reader
	}
	lines, err := column(ctx, p.Reader, "SHOW GRANTS")
	if err != nil {
		return asked(Finding{"grants", Fail, "the reader's grants cannot be read", p.advice()}, err)
	}
	if odd := oddGrants(lines, p.Database); len(odd) > 0 {
		return Finding{"grants", Fail, "the reading identity has more than SELECT on the telemetry tables: " + strings.Join(odd, "; "), p.advice()}, nil
	}
	for _, s := range []struct {
		name  string
		value any
	}{{"max_execution_time", 1 << 30}, {"max_memory_usage", 0}, {"use_query_cache", 1}, {"readonly", 2}} {
		bounded := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{s.name: s.value}))
		if _, err := column(bounded, p.Reader, "SELECT '1'"); err == nil {
			return Finding{"grants", Fail, fmt.Sprintf("the reading identity may set %s to %v", s.name, s.value), p.advice()}, nil
		} else if _, err := asked(Finding{}, err); err != nil {
			return Finding{}, err
		}
	}
	return Finding{"grants", OK, "SELECT on the telemetry tables alone, under bounded settings", ""}, nil
}

// oddGrants returns what of SHOW GRANTS is not SELECT on a telemetry table of database, or on what tells their version.
func oddGrants(lines []string, database string) (odd []string) {
	for _, line := range lines {
		clean := strings.ReplaceAll(line, "`", "")
		privilege, rest, _ := strings.Cut(strings.TrimPrefix(clean, "GRANT "), " ON ")
		object, _, _ := strings.Cut(rest, " TO ")
		table, ours := strings.CutPrefix(object, database+".")
		may := slices.Contains(Tables(), table) || table == schema.AppliedMigrations
		if privilege != "SELECT" || !ours || !may || strings.Contains(rest, "WITH GRANT OPTION") {
			odd = append(odd, clean)
		}
	}
	return odd
}
