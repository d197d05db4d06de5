package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every flag of serve is somebody's: it is in the table of those that some roles have a use for, or here.
func TestEveryFlagHasItsRoles(t *testing.T) {
	everybodys := []string{"data-dir", "secrets-dir", "telemetry", "clickhouse", "clickhouse-reader", "clickhouse-policy-key", "clickhouse-capability",
		"store", "region", "role", "log-level", "shutdown-grace"}
	listed := map[string]bool{}
	for _, f := range flagRoles {
		for _, name := range f.flags {
			if listed[name] {
				t.Errorf("--%s is listed twice", name)
			}
			listed[name] = true
		}
	}
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	cfg := DefaultConfig()
	cfg.register(f)
	known := map[string]bool{}
	f.VisitAll(func(f *pflag.Flag) {
		known[f.Name] = true
		if listed[f.Name] == slices.Contains(everybodys, f.Name) {
			t.Errorf("--%s has to be of some roles (flagRoles) or of all (here)", f.Name)
		}
	})
	for name := range listed {
		if !known[name] {
			t.Errorf("there is no --%s", name)
		}
	}
}

// Each role has what it needs, and nothing of others, whether it was given on the command line or in the environment.
func TestFlagsFitTheRole(t *testing.T) {
	shared := []string{"--store", "postgres://u@127.0.0.1:1/state", "--clickhouse", "http://w@127.0.0.1:1/db", "--clickhouse-reader", "http://r@127.0.0.1:1/db"}
	for _, c := range []struct {
		args []string
		want string // "" is fine
	}{
		{[]string{"--role", "ingest", "--otlp-grpc", "127.0.0.1:0", "--max-body", "1MiB", "--log-level", "warn"}, ""},
		{[]string{"--role", "query", "--api", "127.0.0.1:0", "--query-cache", "none", "--query-tiers", "tiers.json"}, ""},
		{[]string{"--role", "control", "--api", "127.0.0.1:0", "--query-tiers", "tiers.json", "--demo"}, ""},
		{[]string{"--role", "all", "--api", "127.0.0.1:0", "--flush-rows", "10", "--query-slow", "1s"}, ""},
		{[]string{"--role", "ingest", "--api", "127.0.0.1:0"}, "--api means nothing to --role ingest: leave it out, it is for --role all or control or query"},
		{[]string{"--role", "query", "--otlp-http", "127.0.0.1:0"}, "--otlp-http means nothing to --role query: leave it out, it is for --role all or ingest"},
		{[]string{"--role", "control", "--query-timeout", "1s"}, "--query-timeout means nothing to --role control: leave it out, it is for --role all or query"},
		{[]string{"--role", "query", "--public-url", "https://x.example"}, "--public-url means nothing to --role query: leave it out, it is for --role all or control"},
		{[]string{"--role", "ingest", "--engine-threads", "1"}, "--engine-threads means nothing to --role ingest: leave it out, it is for --role all"},
	} {
		f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		cfg := DefaultConfig()
		cfg.register(f)
		if err := f.Parse(append(slices.Clone(shared), c.args...)); err != nil {
			t.Fatal(err)
		}
		if err := cfg.Validate(); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%q: %v, want %q", c.args, err, c.want)
		}
	}
	p := command("serve", "--data-dir", t.TempDir(), "--role", "ingest")
	p.Env = append(p.Env, "HEADGATE_TRUSTED_PROXY=10.0.0.1")
	if out, err := p.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("--trusted-proxy means nothing to --role ingest")) {
		t.Errorf("from the environment: %v\n%s", err, out)
	}
}

// What is announced is what is open.
func TestOnlyWhatIsOpenIsAnnounced(t *testing.T) {
	for _, c := range []struct {
		a    addresses
		not  []string
		have []string
	}{
		{addresses{OTLPGRPC: "g:1", OTLPHTTP: "h:2", Telemetry: "t:4"}, []string{"API"}, []string{"g:1", "http://h:2/v1", "t:4"}},
		{addresses{API: "a:3", Telemetry: "t:4"}, []string{"OTLP"}, []string{"http://a:3/api/v1", "t:4"}},
	} {
		var out bytes.Buffer
		announce(&out, c.a, "dir", false)
		for _, text := range c.not {
			if strings.Contains(out.String(), text) {
				t.Errorf("%+v is announced as\n%s", c.a, out.String())
			}
		}
		for _, text := range c.have {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%+v is announced as\n%s", c.a, out.String())
			}
		}
	}
}
