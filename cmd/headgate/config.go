package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/policy"
)

// Config is everything serve can be told. Every field is a flag and an environment variable.
type Config struct {
	DataDir    string
	SecretsDir string
	OTLPGRPC   string
	OTLPHTTP   string
	API        string
	Telemetry  string
	ClickHouse string
	Store      string
	Region     string
	Role       string
	EngineLib  string
	LogLevel   string
	Demo       bool

	declared map[string]string      // regions that URLs declare, by flag
	given    func(flag string) bool // by the command line or the environment; nil: none is

	APITLSCert  string
	APITLSKey   string
	TLSCert     string
	TLSKey      string
	TLSClientCA string
	CORSOrigins []string
	Profiles    bool
	PathPrefix  string

	MaxConnections     int
	MaxPeerConnections int
	TrustedProxies     []string
	MaxAuthFailures    int

	MaxBody        byteSize
	MaxInFlight    byteSize
	TenantInFlight byteSize // none: what is free
	TenantRequests int
	LogMaxBytes    byteSize
	LogReserve     byteSize
	ResendWindow   time.Duration
	InsertTimeout  time.Duration
	FlushDelay     time.Duration
	FlushRows      int
	EngineMemory   byteSize
	EngineThreads  int
	EngineNice     int
	ShutdownGrace  time.Duration
	QueryTimeout   time.Duration
	QueryMaxMemory byteSize
	WebhookPrivate bool
	Query          queryConfig
	People         peopleConfig
	Server         serverConfig
}

func bytesOf(n int64) byteSize { return byteSize{&n} }

// DefaultConfig is what serve runs with when nothing is set.
func DefaultConfig() Config {
	return Config{
		DataDir: "./data", OTLPGRPC: "127.0.0.1:4317", OTLPHTTP: "127.0.0.1:4318", API: "127.0.0.1:8080",
		Telemetry: "127.0.0.1:9464", Role: "all", LogLevel: "info",
		MaxConnections: 10_000, MaxPeerConnections: 5_000, MaxAuthFailures: 100,
		MaxBody: bytesOf(64 << 20), MaxInFlight: bytesOf(512 << 20), TenantRequests: 2000,
		LogMaxBytes: bytesOf(10 << 30), LogReserve: bytesOf(1 << 30), ResendWindow: 10 * time.Minute, InsertTimeout: time.Minute,
		FlushDelay: 200 * time.Millisecond, FlushRows: 100_000,
		EngineMemory: bytesOf(4 << 30), EngineThreads: 0, EngineNice: 5, ShutdownGrace: 20 * time.Second,
		QueryTimeout: 30 * time.Second, QueryMaxMemory: bytesOf(1 << 30),
		Query: defaultQueryConfig(), Server: serverConfig{Capability: string(policy.ServerCarrier)},
	}
}

func (c *Config) register(f *pflag.FlagSet) {
	c.given = f.Changed
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory of everything headgate keeps on this machine")
	f.StringVar(&c.OTLPGRPC, "otlp-grpc", c.OTLPGRPC, "address of OTLP/gRPC; port 0 picks a free one")
	f.StringVar(&c.OTLPHTTP, "otlp-http", c.OTLPHTTP, "address of OTLP/HTTP")
	f.StringVar(&c.API, "api", c.API, "address of the query, usage and control API")
	f.StringSliceVar(&c.TrustedProxies, "trusted-proxy", c.TrustedProxies, "address or prefix of a reverse proxy before --api whose X-Forwarded-For says who asks, for the audit and the limits of sign-ins; may be repeated")
	f.StringVar(&c.Telemetry, "telemetry", c.Telemetry, "address of /metrics, /healthz, /readyz and /debug/pprof; keep it private")
	f.StringVar(&c.ClickHouse, "clickhouse", c.ClickHouse, "ClickHouse to use, http://user:pass@host:8123/db (empty: the embedded engine)")
	f.StringVar(&c.Store, "store", c.Store, "state database of several headgates, postgres://user@host:5432/database?sslmode=verify-full (empty: SQLite in the data directory); a password is better in HEADGATE_STORE or in a file, &passfile=…, than among the arguments")
	f.StringVar(&c.Region, "region", c.Region, "region of the deployment, fixed at the first start that names one; a later start for another is refused, and so are tenants of another and --clickhouse, --clickhouse-reader and --store URLs that declare another with region=")
	f.StringVar(&c.SecretsDir, "secrets-dir", c.SecretsDir, "directory of key.pepper and admin.token, which all headgates of one --store need the same of (empty: the data directory)")
	f.StringVar(&c.Role, "role", c.Role, "what this process does: all; or ingest (OTLP), query (--api for queries) or control (--api for the rest), of which a deployment has at least one process each, on one --store and one --clickhouse")
	f.StringVar(&c.EngineLib, "engine-lib", c.EngineLib, "path of libchdb.so (empty: beside the executable, then the cache directory)")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error")
	f.BoolVar(&c.Demo, "demo", c.Demo, "create the demo tenants acme and globex at the first start and print their keys")
	f.StringVar(&c.APITLSCert, "api-tls-cert", c.APITLSCert, "PEM file of the certificate chain of --api, read again when it changes (empty: plaintext)")
	f.StringVar(&c.APITLSKey, "api-tls-key", c.APITLSKey, "PEM file of its key")
	f.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "PEM file of the certificate chain of both OTLP addresses, read again when it changes (empty: plaintext)")
	f.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "PEM file of its key")
	f.StringVar(&c.TLSClientCA, "tls-client-ca", c.TLSClientCA, "PEM file of authorities; OTLP clients must show a certificate of one (empty: none is asked for)")
	f.StringVar(&c.PathPrefix, "otlp-path-prefix", c.PathPrefix, "that OTLP/HTTP paths may have before them, as a proxy leaves it there: /otlp takes /otlp/v1/logs beside /v1/logs")
	f.StringSliceVar(&c.CORSOrigins, "cors-origin", c.CORSOrigins, "origin that browsers may send OTLP from with any key that names none itself, https://host[:port], or *; may be repeated")
	f.BoolVar(&c.Profiles, "profiles", c.Profiles, "take OTLP profiles, whose protocol is in development: that of OTLP 1.10 and 1.11, no other")
	f.IntVar(&c.MaxConnections, "max-connections", c.MaxConnections, "connections at each OTLP address; one more is closed at once")
	f.IntVar(&c.MaxPeerConnections, "max-peer-connections", c.MaxPeerConnections, "of these, those that come from one IP address (of IPv6: one /64); behind a proxy, as many as --max-connections")
	f.IntVar(&c.MaxAuthFailures, "max-auth-failures", c.MaxAuthFailures, "refused keys per second and IP address, on average over ten, before its connections are read more slowly; those with a good key never are (0: any number)")
	f.Var(&c.MaxBody, "max-body", "largest OTLP request, on the wire and uncompressed")
	f.Var(&c.MaxInFlight, "max-inflight", "memory of all OTLP requests being received or stored; one tenant gets what is free beside it, half at most")
	f.Var(&c.TenantInFlight, "max-tenant-inflight", "memory of one tenant's OTLP requests, where less than --max-inflight leaves it (none: no less)")
	f.IntVar(&c.TenantRequests, "max-tenant-requests", c.TenantRequests, "OTLP requests of one tenant at a time")
	f.Var(&c.LogMaxBytes, "log-max-bytes", "disk that acked requests may take until ClickHouse has them; beyond it agents are told to try again later")
	f.Var(&c.LogReserve, "log-reserve", "free space on that disk below which nothing is taken either")
	f.DurationVar(&c.ResendWindow, "resend-window", c.ResendWindow, "a request that is sent again within this time of its ack is not stored or billed again (0: always stored)")
	f.DurationVar(&c.FlushDelay, "flush-delay", c.FlushDelay, "how long rows wait for others before they are inserted")
	f.DurationVar(&c.InsertTimeout, "insert-timeout", c.InsertTimeout, "an INSERT without an answer is given up after this; then ClickHouse is asked what it has of it")
	f.IntVar(&c.FlushRows, "flush-rows", c.FlushRows, "rows that are inserted without waiting longer")
	f.Var(&c.EngineMemory, "engine-memory", "memory of the embedded engine")
	f.IntVar(&c.EngineThreads, "engine-threads", c.EngineThreads, "threads of one statement in the embedded engine (0: as many as there are cores)")
	f.IntVar(&c.EngineNice, "engine-nice", c.EngineNice, "how far the embedded engine stands back when processors are scarce, so that requests are acked meanwhile; 0 (not at all) to 19, as of nice(1)")
	f.DurationVar(&c.ShutdownGrace, "shutdown-grace", c.ShutdownGrace, "how long received requests may take to finish at shutdown")
	f.DurationVar(&c.QueryTimeout, "query-timeout", c.QueryTimeout, "a query is stopped after this")
	f.Var(&c.QueryMaxMemory, "query-max-memory", "memory of one query")
	f.BoolVar(&c.WebhookPrivate, "webhook-allow-private", c.WebhookPrivate, "let webhooks, those of tenants too, speak to private and reserved addresses; only where every tenant may reach your network")
	c.Query.register(f)
	c.People.register(f)
	c.Server.register(f)
}

// listens are the addresses that the role opens, by their flags.
func (c *Config) listens() (out []struct{ flag, addr string }) {
	add := func(when bool, flag, addr string) {
		if when {
			out = append(out, struct{ flag, addr string }{flag, addr})
		}
	}
	r, known := roles[c.Role]
	add(r.receive || !known, "--otlp-grpc", c.OTLPGRPC)
	add(r.receive || !known, "--otlp-http", c.OTLPHTTP)
	add(r.api() || !known, "--api", c.API)
	add(true, "--telemetry", c.Telemetry)
	return out
}

// Validate reports everything that is wrong with the configuration, joined, before anything is opened.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.DataDir == "" {
		bad("--data-dir is empty: name a directory that headgate may write to")
	}
	listen := map[string]string{}
	for _, a := range c.listens() {
		_, port, err := net.SplitHostPort(a.addr)
		if err != nil {
			bad("%s %q: want host:port, for example 127.0.0.1:4317", a.flag, a.addr)
			continue
		}
		if other, taken := listen[a.addr]; taken && port != "0" {
			bad("%s and %s are both %s: give each its own port", other, a.flag, a.addr)
		}
		listen[a.addr] = a.flag
	}
	if err := c.takeRegions(); err != nil {
		bad("%w", err)
	}
	if c.ClickHouse != "" {
		if _, err := storage.ParseURL(c.ClickHouse); err != nil {
			bad("--clickhouse: %w", err)
		}
		if c.EngineLib != "" {
			bad("--clickhouse and --engine-lib contradict each other: the first uses a server, the second the embedded engine")
		}
	} else if c.EngineLib != "" {
		if _, err := os.Stat(c.EngineLib); err != nil {
			bad("--engine-lib %s: no such file; run 'make engine-lib' to fetch it, or leave the flag out", c.EngineLib)
		}
	}
	if (c.APITLSCert == "") != (c.APITLSKey == "") {
		bad("--api-tls-cert and --api-tls-key belong together: give both, or neither")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("--tls-cert and --tls-key belong together: give both, or neither")
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		bad("--tls-client-ca needs --tls-cert and --tls-key: clients show certificates over TLS alone")
	}
	for _, origin := range c.CORSOrigins {
		if _, err := auth.ParseOrigin(origin); err != nil {
			bad("--cors-origin: %w", err)
		}
	}
	if p := c.PathPrefix; p != "" && (p != path.Clean(p) || p[0] != '/' || p == "/" || strings.ContainsAny(p, "?# ")) {
		bad("--otlp-path-prefix %q: want a path such as /otlp", p)
	}
	if c.Store != "" {
		if !store.IsURL(c.Store) {
			bad("--store: want postgres://user@host:5432/database, or nothing for SQLite in the data directory")
		} else if err := store.CheckURL(c.Store); err != nil {
			bad("--store: %w", err)
		}
	}
	errs = append(errs, c.checkRole()...)
	if _, err := parseLevel(c.LogLevel); err != nil {
		bad("--log-level %q: want debug, info, warn or error", c.LogLevel)
	}
	if _, err := httpapi.ParseProxies(c.TrustedProxies); err != nil {
		bad("--trusted-proxy: %v", err)
	}
	for _, p := range []struct {
		flag string
		ok   bool
	}{
		{"--max-connections", c.MaxConnections > 0},
		{"--max-peer-connections", c.MaxPeerConnections > 0 && c.MaxPeerConnections <= c.MaxConnections},
		{"--max-auth-failures", c.MaxAuthFailures >= 0 && c.MaxAuthFailures <= 1_000_000},
		{"--max-body", c.MaxBody.bytes != nil && *c.MaxBody.bytes >= 1<<10 && *c.MaxBody.bytes <= 1<<30},
		{"--max-inflight", c.MaxBody.bytes != nil && c.MaxInFlight.bytes != nil && *c.MaxInFlight.bytes >= 4**c.MaxBody.bytes},
		{"--max-tenant-inflight", c.TenantInFlight.bytes == nil || c.MaxBody.bytes != nil && *c.TenantInFlight.bytes >= 2**c.MaxBody.bytes},
		{"--max-tenant-requests", c.TenantRequests > 0},
		{"--log-max-bytes", c.LogMaxBytes.bytes != nil && c.MaxBody.bytes != nil && *c.LogMaxBytes.bytes >= 4*segmentBytes(*c.MaxBody.bytes)},
		{"--log-reserve", c.LogReserve.bytes != nil && *c.LogReserve.bytes >= 0},
		{"--insert-timeout", c.InsertTimeout >= time.Second},
		{"--resend-window", c.ResendWindow >= 0},
		{"--flush-delay", c.FlushDelay > 0 && c.FlushDelay <= 3*time.Second},
		{"--flush-rows", c.FlushRows > 0 && c.FlushRows <= 1_000_000},
		{"--engine-memory", c.EngineMemory.bytes != nil && *c.EngineMemory.bytes >= 512<<20},
		{"--engine-threads", c.EngineThreads >= 0},
		{"--engine-nice", c.EngineNice >= 0 && c.EngineNice <= 19},
		{"--shutdown-grace", c.ShutdownGrace > 0},
		{"--query-timeout", c.QueryTimeout > 0},
		{"--query-max-memory", c.QueryMaxMemory.bytes != nil && *c.QueryMaxMemory.bytes >= 16<<20},
	} {
		if !p.ok {
			bad("%s is out of its range: see --help (max-connections from 1, max-peer-connections up to that, max-auth-failures up to 1000000, max-body 1KiB to 1GiB, max-inflight at least four times max-body, max-tenant-inflight twice, max-tenant-requests from 1, log-max-bytes at least eight times max-body and 64MiB, insert-timeout from 1s, flush-delay up to 3s, flush-rows up to 1000000, engine-memory from 512MiB, engine-nice 0 to 19, query-max-memory from 16MiB)", p.flag)
		}
	}
	errs = append(errs, c.Query.validate(), c.People.validate(), c.Server.validate(c.ClickHouse, c.role().writes()))
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	return nil
}

func (c *Config) path(name string) string { return filepath.Join(c.DataDir, name) }

// secrets is the directory of the files that all processes of a state database have the same of.
func (c *Config) secrets() string { return cmp.Or(c.SecretsDir, c.DataDir) }

// replicated reports whether other processes may share the database.
func (c *Config) replicated() bool { return c.Store != "" }

// replica names this process to the others on its database.
func (c *Config) replica(log string, a addresses) (r metering.ReplicaOptions) {
	if c.replicated() {
		host, _ := os.Hostname() // for information
		r = metering.ReplicaOptions{Log: log, Address: host + " " + cmp.Or(a.API, a.OTLPGRPC)}
	}
	return r
}

// database is what store.Open is told.
func (c *Config) database() string { return cmp.Or(c.Store, c.path(stateFile)) }
