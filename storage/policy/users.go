package policy

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// closedTables are the system tables that hold what the reader must not see: policies, which have the key in them, settings of
// running statements, which have capabilities in them, and what parts and mutations tell of tenants.
var closedTables = []string{
	"row_policies", "processes", "query_log", "query_thread_log", "query_views_log", "text_log", "trace_log", "errors", "error_log",
	"parts", "parts_columns", "projection_parts", "projection_parts_columns", "detached_parts", "part_log", "part_moves_between_shards",
	"mutations", "merges", "moves", "replication_queue", "asynchronous_inserts", "asynchronous_insert_log", "view_refreshes", "users",
	"query_cache", "query_condition_cache", "stack_trace", "processors_profile_log", "opentelemetry_span_log",
}

// Users is the users configuration of the embedded engine, whose only user both identities are: a policy on each table of
// database, and grants without what headgate never does (other servers, files, access management).
func Users(database string, k Key) string {
	var b strings.Builder
	b.WriteString(`<clickhouse>
	<profiles><default/></profiles>
	<quotas><default/></quotas>
	<users>
		<default>
			<password></password>
			<networks><ip>::/0</ip></networks>
			<profile>default</profile>
			<quota>default</quota>
			<grants>
				<query>GRANT ALL ON *.*</query>
				<query>REVOKE READ ON *</query>
				<query>REVOKE WRITE ON *</query>
			</grants>
			<databases>
`)
	policies := func(database string, tables []string, condition string) {
		fmt.Fprintf(&b, "\t\t\t\t<%s>\n", database)
		for _, t := range tables {
			fmt.Fprintf(&b, "\t\t\t\t\t<%s><filter>%s</filter></%s>\n", t, escapeXML(condition), t)
		}
		fmt.Fprintf(&b, "\t\t\t\t</%s>\n", database)
	}
	internal := k.internalCondition(EngineCarrier)
	policies(database, Tables(), k.condition(EngineCarrier))
	policies("system", closedTables, internal)
	b.WriteString("\t\t\t</databases>\n\t\t</default>\n\t</users>\n</clickhouse>\n")
	return b.String()
}

// WriteUsers writes Users to path, readable by nobody else. The engine reads it when it starts.
//
// SECURITY: it holds the key. The directory should be the engine's own.
func WriteUsers(path, database string, k Key) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("engine users file: %w", err)
	}
	// Beside it first: an engine that starts meanwhile reads the old file or the new, never half of one; and a file that
	// was there with another mode does not keep it.
	f, err := os.CreateTemp(filepath.Dir(path), ".users-*") // mode 0600
	if err != nil {
		return fmt.Errorf("engine users file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(Users(database, k))
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("engine users file: %w", err)
	}
	return nil
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
