package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Posture is what the walls inside ClickHouse are checked with. The connections point at Database.
//
// Without a Writer it is what a process can see that only reads. Policies hold the key and cannot be looked at then, but what they do can:
// rows that are shown to no capability, or to a forged one, are found as before. Who has a Writer looks at their text.
type Posture struct {
	Writer   driver.Conn // nil: there is none
	Reader   driver.Conn
	Database string
	Key      Key
	Carrier  Carrier
	// Stored returns ids of tenants that must have rows, as far as is known; asked where there is no Writer to look. nil: nobody knows.
	Stored func(context.Context) []string

	writer, reader string // the users that ClickHouse takes them for; set by Check
}

// embedded reports whether both identities are one user, whom the policies bind.
func (p Posture) embedded() bool { return p.Carrier == EngineCarrier }

const checkTimeout = 30 * time.Second

// Check asks ClickHouse whether the walls hold: what its tables say of policies and grants, and what it does when a reader
// tries. It changes nothing, and no capability or row leaves it. The error is that ClickHouse could not be asked; then
// nothing is known.
func (p Posture) Check(ctx context.Context) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if p.Key.IsZero() {
		return []Finding{{"key", Fail, "there is no key to sign capabilities with", p.advice()}}, nil
	}
	for conn, user := range map[driver.Conn]*string{p.Writer: &p.writer, p.Reader: &p.reader} {
		if conn == nil {
			continue
		}
		if err := conn.QueryRow(ctx, "SELECT currentUser()").Scan(user); err != nil {
			return nil, fmt.Errorf("check the walls in clickhouse: %w", err)
		}
	}
	var out []Finding
	for _, check := range []func(context.Context) (Finding, error){p.version, p.policies, p.capability, p.confined, p.grants, p.clock} {
		f, err := check(ctx)
		if err != nil {
			return nil, fmt.Errorf("check the walls in clickhouse: %w", err)
		}
		if f.Check != "" {
			out = append(out, f)
		}
	}
	return out, nil
}

// any is a connection for what every account may ask.
func (p Posture) any() driver.Conn {
	if p.Writer == nil {
		return p.Reader
	}
	return p.Writer
}

func (p Posture) version(ctx context.Context) (Finding, error) {
	var v string
	if err := p.any().QueryRow(ctx, "SELECT version()").Scan(&v); err != nil {
		return Finding{}, err
	}
	open := OpenBypasses(v)
	f := Finding{"version", OK, "ClickHouse " + v, ""}
	switch {
	case len(open) > 0 && p.embedded():
		f.Detail += "; the embedded engine refuses readers what is still open in it: " + strings.Join(open, ", and ")
	case len(open) > 0:
		f.Status, f.Detail = Warn, f.Detail+": "+strings.Join(open, ", and ")
		f.Advice = "update to 26.3.27.4, 26.6.4.51, 26.7.6.49, 26.8.2.2 or newer; tenants are still kept apart by the signed capability"
	}
	return f, nil
}

// policies compares the policies of each table with what they should be, by ClickHouse's own formatting.
func (p Posture) policies(ctx context.Context) (Finding, error) {
	if p.Writer == nil {
		return Finding{}, nil
	}
	want, err := p.formatted(ctx)
	if err != nil {
		return Finding{}, err
	}
	rows, err := p.Writer.Query(ctx, `SELECT table, short_name, ifNull(formatQuerySingleLineOrNull(concat('SELECT ', select_filter)), ''), is_restrictive != 0, apply_to_all != 0, apply_to_list, apply_to_except
		FROM system.row_policies WHERE database = currentDatabase()`)
	if err != nil {
		return asked(Finding{"policies", Fail, "the writer may not read system.row_policies", "grant it SHOW ROW POLICIES"}, err)
	}
	defer rows.Close()
	good, bad := map[string]bool{}, map[string]string{}
	for rows.Next() {
		var table, name, filter string
		var restrictive, all bool
		var to, except []string
		if err := rows.Scan(&table, &name, &filter, &restrictive, &all, &to, &except); err != nil {
			return Finding{}, err
		}
		binds := all && !slices.Contains(except, p.reader) || slices.Contains(to, p.reader)
		others := !all && slices.Equal(to, []string{p.writer}) && p.writer != p.reader
		switch {
		case restrictive: // takes away only
		case binds && filter == want:
			good[table] = true
		case !others:
			// Permissive policies are added up: one more opens rows.
			bad[table] = fmt.Sprintf("policy %s of %s is not headgate's own", name, table)
		}
	}
	if err := rows.Err(); err != nil {
		return Finding{}, err
	}
	var wrong []string
	for _, t := range Tables() {
		if !good[t] && bad[t] == "" {
			wrong = append(wrong, t+" has no policy")
		}
	}
	for _, t := range slices.Concat(Tables(), []string{"*", ""}) { // of the database as a whole, too
		if bad[t] != "" {
			wrong = append(wrong, bad[t])
		}
	}
	if len(wrong) > 0 {
		return Finding{"policies", Fail, strings.Join(wrong, ", "), p.advice()}, nil
	}
	return Finding{"policies", OK, fmt.Sprintf("unaltered on %d tables", len(Tables())), ""}, nil
}

func (p Posture) advice() string {
	if p.embedded() {
		return "restart headgate: the embedded engine gets its policies when it starts"
	}
	return "run what headgate clickhouse-setup prints, with the key file that headgate serve has"
}

// formatted is the statement SELECT condition as ClickHouse writes it. It travels as a parameter, so that the key is in no log of statements.
func (p Posture) formatted(ctx context.Context) (string, error) {
	text := strings.ReplaceAll("SELECT "+p.Key.condition(p.Carrier), `\`, `\\`) // parameters are read in their escaped form
	ctx = clickhouse.Context(ctx, clickhouse.WithParameters(clickhouse.Parameters{"q": text}))
	err := p.Writer.QueryRow(ctx, "SELECT formatQuerySingleLine({q:String})").Scan(&text)
	return text, err
}

// capability looks whether rows are shown to the capability and to nothing else.
func (p Posture) capability(ctx context.Context) (Finding, error) {
	f := Finding{Check: "capability", Status: Fail, Advice: p.advice()}
	for _, try := range []struct {
		what     string
		settings clickhouse.Settings
	}{
		{"without a capability", nil}, // what the identity has by itself
		{"with an empty capability", p.carrying("")},
		{"with an unsigned capability", p.carrying(strings.Repeat("0", macBytes) + ":" + everything)},
		{"with a capability of another key", p.carrying(NewKey().sign(everything))},
	} {
		seen, err := p.visible(ctx, try.settings)
		if err != nil {
			return asked(Finding{f.Check, f.Status, "the reader cannot read " + try.what, f.Advice}, err)
		}
		if len(seen) > 0 {
			f.Detail = "rows of " + strings.Join(seen, ", ") + " are shown " + try.what
			return f, nil
		}
	}
	return p.opens(ctx, f)
}

// opens looks whether a tenant's capability shows its rows, and completes f.
func (p Posture) opens(ctx context.Context, f Finding) (Finding, error) {
	table, ids, err := p.stored(ctx)
	if err != nil {
		return asked(Finding{f.Check, Fail, "the writer may not read the telemetry tables", p.advice()}, err)
	}
	if len(ids) == 0 {
		return Finding{f.Check, OK, "nothing is shown without it; no rows are known yet to see with it", ""}, nil
	}
	seen, err := p.visible(ctx, p.carrying(p.Key.sign(strings.Join(ids, ","))))
	if err != nil {
		return asked(Finding{f.Check, f.Status, "the reader cannot read with a capability", f.Advice}, err)
	}
	if len(seen) == 0 || table != "" && !slices.Contains(seen, table) {
		f.Detail = "a tenant's rows are not shown to its own capability: ClickHouse has policies of another key"
		return f, nil
	}
	return Finding{f.Check, OK, "nothing is shown without it, or with one that is forged", ""}, nil
}

// stored returns tenants that have rows, whichever, and the table that these are in if that is known. What the reader sees of them is only
// counted.
func (p Posture) stored(ctx context.Context) (table string, ids []string, err error) {
	if p.Writer == nil {
		if p.Stored != nil {
			ids = p.Stored(ctx)
		}
		return "", ids, nil
	}
	for _, t := range Tables() {
		if ids, err = column(ctx, p.Writer, "SELECT toString(TenantId) FROM "+t+" LIMIT 1"); err != nil || len(ids) > 0 {
			return t, ids, err
		}
	}
	return "", nil, nil
}

func (p Posture) carrying(capability string) clickhouse.Settings {
	return clickhouse.Settings{string(p.Carrier): capability}
}

// visible returns the tables of which the reader sees any row under the settings.
func (p Posture) visible(ctx context.Context, settings clickhouse.Settings) ([]string, error) {
	parts := make([]string, len(Tables()))
	for i, t := range Tables() {
		parts[i] = "SELECT '" + t + "' FROM " + t + " LIMIT 1"
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings))
	return column(ctx, p.Reader, "SELECT * FROM (("+strings.Join(parts, ") UNION ALL (")+"))")
}

// maxSkew is how far ClickHouse's clock may be from this machine's before retention and relative times are visibly wrong.
const maxSkew = 5 * time.Second

func (p Posture) clock(ctx context.Context) (Finding, error) {
	before := time.Now()
	var nanos int64
	if err := p.any().QueryRow(ctx, "SELECT toUnixTimestamp64Nano(now64(9))").Scan(&nanos); err != nil {
		return Finding{}, err
	}
	after := time.Now()
	theirs := time.Unix(0, nanos)
	skew := max(before.Sub(theirs), theirs.Sub(after), 0)
	if skew > maxSkew {
		return Finding{"clock", Warn, fmt.Sprintf("ClickHouse's clock is %s off this machine's", skew.Round(time.Second)), "synchronise both, for example by chrony: retention and now() follow ClickHouse's clock"}, nil
	}
	return Finding{"clock", OK, "ClickHouse's and this machine's agree", ""}, nil
}

// asked returns f if ClickHouse has answered with an exception, and otherwise that it could not be asked.
func asked(f Finding, err error) (Finding, error) {
	var answer *clickhouse.Exception
	if errors.As(err, &answer) {
		f.Detail += fmt.Sprintf(" (ClickHouse code %d)", answer.Code)
		return f, nil
	}
	return Finding{}, err
}

// column returns a result of one column as lines.
func column(ctx context.Context, conn driver.Conn, sql string) ([]string, error) {
	r, err := conn.QueryFormat(ctx, "TSVRaw", sql)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if text := strings.TrimSpace(string(b)); err == nil && text != "" {
		return strings.Split(text, "\n"), nil
	}
	return nil, err
}
