package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate-io/headgate/storage/schema"
)

// Server is what keeps tenants apart on a ClickHouse server: two accounts, their grants and settings, and the row policies.
type Server struct {
	Database, Cluster      string // Cluster "" is one server
	Writer, Reader         string // names of the accounts
	WriterHash, ReaderHash string // SHA-256 of their passwords, in hex
	Carrier                Carrier
	Key                    Key
	Fixed                  map[string]any   // settings of the reader that nothing changes
	AtMost, Free           map[string]int64 // bounds of those that a statement may change, with the bound as their value or without
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	hexHash   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Validate returns all that is wrong with s. Names are plain, so that nothing has to be quoted.
func (s Server) Validate() error {
	var errs []error
	for what, name := range map[string]string{"database": s.Database, "writing account": s.Writer, "reading account": s.Reader, "setting": string(s.Carrier)} {
		if !plainName.MatchString(name) {
			errs = append(errs, fmt.Errorf("%s %q: want a name of letters, digits and _", what, name))
		}
	}
	if s.Cluster != "" && !plainName.MatchString(s.Cluster) {
		errs = append(errs, fmt.Errorf("cluster %q: want a name of letters, digits and _", s.Cluster))
	}
	if s.Writer == s.Reader {
		errs = append(errs, errors.New("the reading account must be another than the writing one"))
	}
	if !strings.Contains(strings.Trim(string(s.Carrier), "_"), "_") {
		errs = append(errs, fmt.Errorf("setting %q: want a prefix, _ and a name, as custom settings have", s.Carrier))
	}
	if s.Key.IsZero() {
		errs = append(errs, errors.New("no key"))
	}
	for _, hash := range []string{s.WriterHash, s.ReaderHash} {
		if !hexHash.MatchString(hash) {
			errs = append(errs, errors.New("a password's hash is not 64 hexadecimal digits"))
		}
	}
	return errors.Join(errs...)
}

// Config is the server's own configuration, a file of config.d: what SQL cannot set.
func (s Server) Config() string {
	prefix, _, _ := strings.Cut(string(s.Carrier), "_")
	return `<clickhouse>
	<!-- Capabilities travel in the setting ` + string(s.Carrier) + `. -->
	<custom_settings_prefixes>` + prefix + `_</custom_settings_prefixes>
	<access_control_improvements>
		<!-- An account that no policy of a table names sees none of its rows. -->
		<users_without_row_policies_can_read_rows>false</users_without_row_policies_can_read_rows>
		<!-- Policies, which hold the key, and running statements are for those who are granted them. -->
		<select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
		<select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
		<on_cluster_queries_require_cluster_grant>true</on_cluster_queries_require_cluster_grant>
		<!-- The reader may change, under readonly, exactly what its profile says. -->
		<settings_constraints_replace_previous>true</settings_constraints_replace_previous>
	</access_control_improvements>
</clickhouse>
`
}

// systemTables are the tables of ClickHouse's own that the writer asks.
var systemTables = []string{"columns", "mutations", "parts", "processes", "row_policies", "tables"}

// SQL is the statements that set the server up, each ending in ";\n". They may be run again, by an account that manages
// access; run after an update of headgate, they bring policies for new tables.
//
// SECURITY: they hold the key, and the server's log of statements will, too: its policies do anyway.
func (s Server) SQL() string {
	var b strings.Builder
	on := ""
	if s.Cluster != "" {
		on = " ON CLUSTER " + s.Cluster
	}
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+";\n", args...) }
	note := func(text string) { fmt.Fprintf(&b, "\n-- %s\n", text) }

	b.WriteString("-- Made by headgate clickhouse-setup. It holds the key of the row policies: keep it secret, or delete it once it has run.\n")
	say("CREATE DATABASE IF NOT EXISTS %s%s", s.Database, on)

	note("The reader: SELECT on the telemetry tables and on their version, bounded settings, no other right.")
	say("CREATE SETTINGS PROFILE OR REPLACE %s%s SETTINGS\n    %s", s.Reader, on, strings.Join(s.settings(), ",\n    "))
	say("CREATE USER OR REPLACE %s%s IDENTIFIED WITH sha256_hash BY '%s' DEFAULT DATABASE %s GRANTEES NONE SETTINGS PROFILE '%s'",
		s.Reader, on, s.ReaderHash, s.Database, s.Reader)
	for _, t := range Tables() {
		say("GRANT%s SELECT ON %s.%s TO %s", on, s.Database, t, s.Reader)
	}
	say("GRANT%s SELECT ON %s.%s TO %s", on, s.Database, schema.AppliedMigrations, s.Reader)

	note("What it draws can be seen in system.quota_usage; limits are headgate's own.")
	say("CREATE QUOTA OR REPLACE %s%s FOR INTERVAL 1 hour TRACKING ONLY TO %s", s.Reader, on, s.Reader)

	note("The writer: the tables of its database, and what it asks of ClickHouse's own.")
	say("CREATE USER OR REPLACE %s%s IDENTIFIED WITH sha256_hash BY '%s' DEFAULT DATABASE %s GRANTEES NONE", s.Writer, on, s.WriterHash, s.Database)
	say("GRANT%s SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE, SHOW, SHOW ROW POLICIES ON %s.* TO %s", on, s.Database, s.Writer)
	for _, t := range systemTables {
		say("GRANT%s SELECT ON system.%s TO %s", on, t, s.Writer)
	}

	note("Rows are shown to the reader by a signed capability, and to the writer; to nobody else.")
	for _, t := range Tables() {
		say("CREATE ROW POLICY OR REPLACE headgate_reader%s ON %s.%s FOR SELECT USING %s AS PERMISSIVE TO %s", on, s.Database, t, s.Key.condition(s.Carrier), s.Reader)
		say("CREATE ROW POLICY OR REPLACE headgate_writer%s ON %s.%s FOR SELECT USING 1 AS PERMISSIVE TO %s", on, s.Database, t, s.Writer)
	}
	return b.String()
}

// settings of the reader's profile. Those without bounds cannot be changed under readonly.
func (s Server) settings() []string {
	out := []string{"readonly = 1", fmt.Sprintf("%s = '' CHANGEABLE_IN_READONLY", s.Carrier)}
	for _, name := range slices.Sorted(maps.Keys(s.AtMost)) {
		// 0 would be no limit.
		out = append(out, fmt.Sprintf("%s = %d MIN 1 MAX %d CHANGEABLE_IN_READONLY", name, s.AtMost[name], s.AtMost[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Free)) {
		out = append(out, fmt.Sprintf("%s MIN 1 MAX %d CHANGEABLE_IN_READONLY", name, s.Free[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Fixed)) {
		value := fmt.Sprint(s.Fixed[name])
		if _, text := s.Fixed[name].(string); text {
			value = "'" + value + "'"
		}
		out = append(out, name+" = "+value)
	}
	return out
}
