package engine

import "testing"

func TestReaderMayOnlySelect(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT count() FROM (SELECT 1 AS c0 FROM otel_logs PREWHERE TenantId IN {p1:Array(String)}) LIMIT 2": true,
		"(SELECT 1) UNION ALL (SELECT 2)":                            true,
		"/* SHOW */ with 1 AS x SELECT x":                            true,
		"SELECT 'SETTINGS file( system.parts', \"file\", `system`":   true,
		"SELECT c1 AS `system.cpu`, c2 AS `settings` FROM t":         true,
		"SELECT Attributes['file'], settings_x, files FROM t":        true,
		"SHOW CREATE ROW POLICY default ON t":                        false,
		"EXPLAIN SELECT 1":                                           false,
		"SELECT * FROM (EXPLAIN SELECT 1)":                           false,
		"DESCRIBE TABLE t":                                           false,
		"EXISTS TABLE t":                                             false,
		"SELECT * FROM t SETTINGS log_comment = 'x'":                 false,
		"SELECT * FROM (SELECT * FROM t SeTTiNGS log_comment = 'x')": false,
		"SELECT /**/ file('/etc/passwd')":                            false,
		"SELECT `file`('/etc/passwd')":                               false,
		"SELECT \"fi\\x6ce\"('/etc/passwd')":                         false,
		"SELECT * FROM `/etc/passwd`":                                false,
		"SELECT * FROM mergeTreeIndex(currentDatabase(), otel_logs)": false,
		"SELECT * FROM system.processes":                             false,
		"SELECT * FROM `system`.processes":                           false,
		"SELECT * FROM information_schema.tables":                    false,
		"SELECT * FROM merge('x')":                                   false,
		"SELECT dictGetString('d', 'a', 1)":                          false,
		"SELECT * FROM t INTO OUTFILE '/tmp/x'":                      false,
		"SELECT `":                                                   true, // the parser refuses it
		"":                                                           false,
		"-- SELECT":                                                  false,
	} {
		if got := readerMay(text); got != want {
			t.Errorf("readerMay(%q) = %v, want %v", text, got, want)
		}
	}
}
