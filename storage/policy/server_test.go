package policy_test

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/policy"
)

func server() policy.Server {
	return policy.Server{
		Database: "headgate", Writer: "headgate_writer", Reader: "headgate_reader", Carrier: policy.ServerCarrier, Key: policy.NewKey(),
		WriterHash: strings.Repeat("0", 64), ReaderHash: strings.Repeat("1", 64),
		Fixed: map[string]any{"use_query_cache": 0, "timeout_overflow_mode": "throw"}, AtMost: map[string]int64{"max_memory_usage": 1 << 30, "max_execution_time": 30}, Free: map[string]int64{"max_threads": 64},
	}
}

// TestServerStatementsParse has this version of ClickHouse parse each statement, on one server and on a cluster. It has no
// access storage to run them in.
func TestServerStatementsParse(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	for _, cluster := range []string{"", "main"} {
		s := server()
		s.Cluster = cluster
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for stmt := range strings.SplitSeq(s.SQL(), ";\n") {
			if stmt = strings.TrimSpace(stmt); stmt == "" {
				continue
			}
			n++
			ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"q": strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(stmt)}))
			var formatted string
			if err := conn.QueryRow(ctx, "SELECT formatQuerySingleLine({q:String})").Scan(&formatted); err != nil {
				t.Errorf("%s\n%v", stmt, err)
			}
			if strings.Count(formatted, "ON CLUSTER") != len(cluster)/4 {
				t.Errorf("ON CLUSTER in %s", formatted)
			}
		}
		if want := 3*len(policy.Tables()) + 10; n < want {
			t.Errorf("%d statements, want at least %d", n, want)
		}
	}
}

// TestServerReaderConditionHolds runs the reader's condition on the engine, which takes capabilities from another setting.
func TestServerReaderConditionHolds(t *testing.T) {
	s := server()
	_, rest, _ := strings.Cut(s.SQL(), "ON headgate.otel_logs FOR SELECT USING ")
	condition, _, _ := strings.Cut(rest, " AS PERMISSIVE TO headgate_reader")
	condition = strings.ReplaceAll(condition, string(policy.ServerCarrier), string(policy.EngineCarrier))
	g := &guarded{Engine: chtest.Start(t), t: t, key: s.Key}
	g.writer = g.Open(t, chtest.Database(t))
	g.exec("CREATE TABLE t (TenantId LowCardinality(String)) ENGINE = MergeTree ORDER BY TenantId")
	g.exec("INSERT INTO t VALUES ('a'), ('b'), ('*')")
	for capability, want := range map[string]string{
		"": "0", "a": "0", s.Key.Tenants(chtest.Scope(t, "a")): "1", "'" + s.Key.Tenants(chtest.Scope(t, "a", "b")) + "'": "2",
		s.Key.Tenants(chtest.Scope(t, "a")) + ",b": "0", policy.NewKey().Tenants(chtest.Scope(t, "a")): "0",
	} {
		if got, err := g.ask(g.writer, capability, "SELECT count() FROM t WHERE "+condition); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", capability, got, err, want)
		}
	}
}

func TestServerConfigurationIsXML(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(server().Config()))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestServerRefusesNamesThatAreNone(t *testing.T) {
	for what, change := range map[string]func(*policy.Server){
		"database":  func(s *policy.Server) { s.Database = "a.b" },
		"quote":     func(s *policy.Server) { s.Reader = "x' OR" },
		"same":      func(s *policy.Server) { s.Reader = s.Writer },
		"cluster":   func(s *policy.Server) { s.Cluster = "a b" },
		"no key":    func(s *policy.Server) { s.Key = policy.Key{} },
		"no hash":   func(s *policy.Server) { s.ReaderHash = "" },
		"no prefix": func(s *policy.Server) { s.Carrier = "headgate" },
	} {
		s := server()
		if change(&s); s.Validate() == nil {
			t.Errorf("%s: passed", what)
		}
	}
}
