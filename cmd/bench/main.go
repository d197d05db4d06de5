// Command bench measures headgate as a whole: it starts the built binary with an empty data directory and its embedded
// engine, sends realistic OTLP/gRPC requests as fast as they are acked, and prints one line per signal with records/s and
// the CPU seconds that the gateway and the engine spent per million records. A second table has the acks: their rate and how
// long they take under several loads.
//
// The load comes from this process on the same machine, so records/s is what is left of the cores; the CPU columns are
// the figures to compare.
//
// With -collector it sends the same to an OpenTelemetry Collector with a durable queue instead: see clients/collector.
//
// With -outage it measures how a log drains that has grown while ClickHouse was away.
//
// With -reading it measures what answers to questions take, beside the same questions as plain SQL: see reading.go.
//
// With -hostile it measures what tenants that misbehave cost a neighbour, and headgate's memory: see hostile.go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/headgate-io/headgate/internal/otlpgen"
)

type options struct {
	binary   string
	duration time.Duration
	records  int // per request
	senders  int

	loads       shapes
	ackDuration time.Duration

	collector string

	outage  bool
	backlog int64 // MiB

	hostile bool
	only    string
	attack  string // this process attacks, under this name
	target  string
	key     string
	sink    bool

	reading bool
	data    string
	rows    int64
	tenants int
	times   int
	growth  bool
}

func main() {
	o := options{loads: shapes{{1, 100}, {16, 100}, {256, 100}, {4, 1000}, {16, 1000}, {1, 8000}, {16, 8000}, {256, 8000}}}
	flag.StringVar(&o.binary, "binary", "bin/headgate", "headgate to measure")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "how long each signal is sent; 0 is not at all")
	flag.IntVar(&o.records, "records", 1000, "records per request")
	flag.IntVar(&o.senders, "senders", 32, "requests in flight")
	flag.Var(&o.loads, "loads", "loads whose acks are measured, senders x records")
	flag.DurationVar(&o.ackDuration, "ack-duration", 5*time.Second, "how long each of them is sent, saturated and at half of that rate; 0 is not at all")
	flag.StringVar(&o.collector, "collector", "", "collector to compare with under -loads: what clients/collector builds")
	flag.BoolVar(&o.outage, "outage", false, "measure how a log drains that has grown while ClickHouse was away")
	flag.Int64Var(&o.backlog, "backlog", 512, "with -outage: MiB by which the log grows")
	flag.BoolVar(&o.hostile, "hostile", false, "measure a neighbour beside tenants that misbehave; with -reading: that ask as much as they can")
	flag.StringVar(&o.only, "only", "", "with -hostile: attacks whose name has this in it")
	flag.BoolVar(&o.reading, "reading", false, "measure what answers to questions take, beside the same questions as plain SQL")
	flag.StringVar(&o.data, "data", "", "with -reading: directory that keeps the rows for the next time (empty: a temporary one)")
	flag.Int64Var(&o.rows, "rows", 20_000_000, "with -reading: log records; half as many spans, and as many points of metrics")
	flag.IntVar(&o.tenants, "tenants", 50, "with -reading: tenants that the rows are of")
	flag.IntVar(&o.times, "times", 20, "with -reading: how often each question is asked")
	flag.BoolVar(&o.growth, "growth", true, "with -reading: compare with a store that has one tenant's rows alone, too")
	flag.StringVar(&o.attack, "attack", "", "used by -hostile itself")
	flag.StringVar(&o.target, "target", "", "used by -hostile itself")
	flag.StringVar(&o.key, "key", "", "used by -hostile itself")
	flag.BoolVar(&o.sink, "sink", false, "used by -hostile itself")
	flag.Parse()
	do := both
	switch {
	case o.attack != "":
		do = runAttack
	case o.sink:
		do = runSink
	case o.collector != "":
		do = compare
	case o.outage:
		do = outage
	case o.reading && o.hostile:
		do = hostileReading
	case o.reading:
		do = reading
	case o.hostile:
		do = hostile
	}
	if err := do(context.Background(), o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type signal struct {
	name, method string
	generate     func(seed uint64, records int) []byte
}

// signals are measured in this order, each against its own server.
var signals = []signal{
	{"logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export", otlpgen.Logs},
	{"traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", otlpgen.Traces},
	{"metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", otlpgen.Metrics},
}

// both is what make bench prints.
func both(ctx context.Context, o options, out io.Writer) error {
	if o.duration > 0 {
		if err := run(ctx, o, out); err != nil {
			return err
		}
	}
	if o.ackDuration > 0 {
		return acks(ctx, o, out)
	}
	return nil
}

// run measures each signal.
func run(ctx context.Context, o options, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "signal\trecords\trecords/s acked\tMB/s\trecords/s stored\tgateway CPU s/M\t+ engine CPU s/M\t+ its merges CPU s/M\tgateway RSS MiB\tengine RSS MiB\t\n")
	for _, s := range signals {
		r, err := measure(ctx, o, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		million := float64(r.records) / 1e6
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.1f\t%.0f\t%.2f\t%.2f\t%.2f\t%d\t%d\t\n", s.name, r.records, float64(r.records)/r.took.Seconds(),
			float64(r.bytes)/1e6/r.took.Seconds(), float64(r.records)/r.stored.Seconds(), r.gateway.Seconds()/million, (r.gateway+r.engine).Seconds()/million,
			(r.gateway+r.settled).Seconds()/million, r.gatewayRSS>>20, r.engineRSS>>20)
	}
	return w.Flush()
}

type result struct {
	sent
	stored                time.Duration // until everything was in the engine's tables
	gateway, engine       time.Duration // CPU until then
	settled               time.Duration // engine CPU until its merges have come to rest
	gatewayRSS, engineRSS int64         // bytes, at the last ack
}

func measure(ctx context.Context, o options, sig signal) (result, error) {
	dir, err := os.MkdirTemp("", "headgate-bench-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	srv, err := start(ctx, o.binary, dir)
	if err != nil {
		return result{}, err
	}
	defer srv.stop()
	c, err := newClient(ctx, srv.otlp, srv.key, sig, o.records)
	if err != nil {
		return result{}, err
	}
	defer c.close()
	if _, err := c.run(o.senders, 0, lasting(2*time.Second)); err != nil {
		return result{}, err
	}
	if err := srv.stored(ctx, 0); err != nil {
		return result{}, err
	}
	engine, err := childOf(srv.pid)
	if err != nil {
		return result{}, err
	}
	gateway0, engine0, begin := cpu(srv.pid), cpu(engine), time.Now()
	var r result
	if r.sent, err = c.run(o.senders, 0, lasting(o.duration)); err != nil {
		return result{}, err
	}
	r.gatewayRSS, r.engineRSS = rss(srv.pid), rss(engine)
	if err := srv.stored(ctx, 0); err != nil {
		return result{}, err
	}
	r.stored, r.gateway, r.engine = time.Since(begin), cpu(srv.pid)-gateway0, cpu(engine)-engine0
	r.settled = settle(engine) - engine0
	return r, nil
}

// settle waits until the engine has been idle for two seconds, at most two minutes, and returns its CPU time.
func settle(pid int) time.Duration {
	last := cpu(pid)
	for range 60 {
		time.Sleep(2 * time.Second)
		now := cpu(pid)
		if now-last < 100*time.Millisecond {
			return now
		}
		last = now
	}
	return last
}

type server struct {
	cmd            *exec.Cmd
	pid            int
	binary         string
	data           string
	otlp, http     string
	api, telemetry string
	key            string // of the tenant bench
}

// start runs headgate on free ports, with further flags, and makes one tenant and a key for it.
func start(ctx context.Context, binary, dir string, flags ...string) (*server, error) {
	s, err := boot(ctx, binary, dir, flags...)
	if err == nil {
		s.key, err = s.tenant(ctx, "bench")
	}
	if err != nil && s != nil {
		s.stop()
	}
	return s, err
}

// boot is start without a tenant.
func boot(ctx context.Context, binary, dir string, flags ...string) (*server, error) {
	logs, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	data := filepath.Join(dir, "data")
	cmd := exec.CommandContext(ctx, binary, "serve", "--data-dir", data, "--otlp-grpc", "127.0.0.1:0",
		"--otlp-http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--telemetry", "127.0.0.1:0", "--log-level", "warn",
		"--shutdown-grace", "1s") // what is left in the log at the end is nobody's
	cmd.Args = append(cmd.Args, flags...)
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, pid: cmd.Process.Pid, binary: binary, data: data}
	if err := s.prepare(); err != nil {
		s.stop()
		text, _ := os.ReadFile(logs.Name())
		return nil, fmt.Errorf("start %s: %w\n%s", binary, err, text)
	}
	return s, nil
}

// prepare waits for the server and learns its addresses.
func (s *server) prepare() error {
	var addr struct {
		GRPC           string `json:"otlp_grpc"`
		HTTP           string `json:"otlp_http"`
		API, Telemetry string
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		raw, err := os.ReadFile(filepath.Join(s.data, "addresses.json"))
		if err == nil && json.Unmarshal(raw, &addr) == nil {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("not ready within a minute")
		}
	}
	s.otlp, s.http = addr.GRPC, "http://"+addr.HTTP
	s.api, s.telemetry = "http://"+addr.API, "http://"+addr.Telemetry
	return nil
}

// tenant makes a tenant and returns a key for it.
func (s *server) tenant(ctx context.Context, name string) (key string, err error) {
	if out, err := exec.CommandContext(ctx, s.binary, "tenant", "create", name, "--data-dir", s.data).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	out, err := exec.CommandContext(ctx, s.binary, "key", "create", "--tenant", name, "--scope", "ingest", "--scope", "query", "--data-dir", s.data).Output()
	return strings.TrimSpace(string(out)), err
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}
