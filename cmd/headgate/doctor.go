package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/engine"
	"github.com/headgate-io/headgate/storage/policy"
)

func newDoctor() *cobra.Command {
	cfg := DefaultConfig()
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what headgate stands on, and what keeps tenants apart in ClickHouse",
		Long: `Doctor checks the data directory, the disk, the log, the state database, the engine library and ClickHouse, whether the
clocks agree, and whether row policies, grants and settings in ClickHouse keep tenants apart. It is given the flags that
serve is given, --role with them, and changes nothing. A headgate that runs on the data directory is asked; otherwise doctor looks itself,
except at an embedded engine, which only runs with its headgate.

It prints ok, warn or fail for each, and what to do; with any fail its exit status is 1.`,
		Example: `  headgate doctor --data-dir ./data
  headgate doctor --json --clickhouse http://headgate_writer:secret@clickhouse:8123/headgate \
    --clickhouse-reader http://headgate_reader:secret@clickhouse:8123/headgate`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Validate(); err != nil {
				return err
			}
			findings := examine(cmd.Context(), cfg)
			out := cmd.OutOrStdout()
			if asJSON {
				if err := printJSON(out, findings); err != nil {
					return err
				}
			} else {
				printFindings(out, findings)
			}
			if n := failed(findings); n > 0 {
				return fmt.Errorf("%d of %d checks failed", n, len(findings))
			}
			return nil
		},
	}
	cfg.register(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print findings as JSON")
	return cmd
}

func failed(findings []policy.Finding) (n int) {
	for _, f := range findings {
		if f.Status == policy.Fail {
			n++
		}
	}
	return n
}

func printFindings(out io.Writer, findings []policy.Finding) {
	t := newTable("STATUS", "CHECK", "FOUND")
	for _, f := range findings {
		t.add(string(f.Status), f.Check, oneLine(f.Detail))
		if f.Advice != "" && f.Status != policy.OK {
			t.add("", "", "→ "+oneLine(f.Advice))
		}
	}
	t.print(out)
}

// examine makes every check, in the order in which a start needs what they are of.
func examine(ctx context.Context, cfg Config) []policy.Finding {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out := []policy.Finding{checkDataDir(cfg), checkSecrets(cfg)}
	if cfg.role().receive {
		out = append(out, checkDisk(cfg), checkLog(cfg))
	}
	out = append(out, checkStateDatabase(ctx, cfg), checkLibrary(cfg))
	running := checkRunning(ctx, cfg)
	out = append(out, running)
	if cfg.replicated() && running.Status == policy.OK {
		out = append(out, checkFleet(ctx, cfg))
	}
	if r := cfg.role(); !r.query && (!r.control || cfg.Server.Reader == "") {
		return append(out, checkClickHouse(ctx, cfg))
	}
	if cfg.ClickHouse != "" && !cfg.role().writes() {
		out = append(out, warn("account", "leave --clickhouse out: --clickhouse-reader is enough", "this process is told of the account that may write to ClickHouse, and has no use for it"))
	}
	return append(out, checkWalls(ctx, cfg, running.Status == policy.OK)...)
}

func ok(check, format string, args ...any) policy.Finding {
	return policy.Finding{Check: check, Status: policy.OK, Detail: fmt.Sprintf(format, args...)}
}

func fail(check, advice string, err error) policy.Finding {
	return policy.Finding{Check: check, Status: policy.Fail, Detail: err.Error(), Advice: advice}
}

func warn(check, advice, format string, args ...any) policy.Finding {
	return policy.Finding{Check: check, Status: policy.Warn, Detail: fmt.Sprintf(format, args...), Advice: advice}
}

func checkDataDir(cfg Config) policy.Finding {
	const check = "data directory"
	info, err := os.Stat(cfg.DataDir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return warn(check, "headgate serve makes it; if there was one, name it with --data-dir", "%s is not there yet", cfg.DataDir)
	case err != nil:
		return fail(check, "let headgate's user read it", err)
	case !info.IsDir():
		return fail(check, "name a directory with --data-dir", fmt.Errorf("%s is no directory", cfg.DataDir))
	case unix.Access(cfg.DataDir, unix.W_OK) != nil:
		return fail(check, "let headgate's user write to it", fmt.Errorf("%s cannot be written to", cfg.DataDir))
	case info.Mode().Perm()&0o077 != 0:
		return warn(check, "chmod 700 "+cfg.DataDir, "%s has mode %04o: others on the machine may look into it", cfg.DataDir, info.Mode().Perm())
	}
	return ok(check, "%s", cfg.DataDir)
}

// checkSecrets looks at the files that open everything: they must be their owner's alone.
func checkSecrets(cfg Config) policy.Finding {
	const check = "secrets"
	open, found := []string{}, 0
	for _, name := range append([]string{policyKeyFile, writerKeyFile}, secretFiles...) {
		info, err := os.Stat(filepath.Join(cfg.secrets(), name))
		if err != nil {
			continue
		}
		if found++; !policy.Private(info) {
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		return fail(check, "chmod 600 them, and make new ones if somebody else may have read them",
			fmt.Errorf("others on the machine can read %s in %s", strings.Join(open, ", "), cfg.secrets()))
	}
	return ok(check, "%d files, their owner's alone", found)
}

func checkDisk(cfg Config) policy.Finding {
	const check = "disk"
	var s unix.Statfs_t
	if err := unix.Statfs(existing(cfg.DataDir), &s); err != nil {
		return fail(check, "see whether its file system is mounted", err)
	}
	free, reserve := int64(s.Bavail)*s.Bsize, *cfg.LogReserve.bytes
	advice := "make room, or lower --log-reserve and --log-max-bytes"
	switch {
	case free < reserve:
		return fail(check, advice, fmt.Errorf("%s free, less than --log-reserve: agents are told to try again later", roughBytes(free)))
	case free < reserve+*cfg.LogMaxBytes.bytes:
		return warn(check, advice, "%s free: the log cannot grow to --log-max-bytes should ClickHouse be away", roughBytes(free))
	}
	return ok(check, "%s free", roughBytes(free))
}

// existing is path, or the nearest directory above it that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func checkLog(cfg Config) policy.Finding {
	const check = "log"
	dir := cfg.path(walDir)
	rejected, err := storage.ListRejected(dir)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fail(check, "let headgate's user read it; headgate wal verify tells of damage", err)
	case len(rejected) > 0:
		return warn(check, "headgate wal inspect tells why; headgate wal replay tries them again", "%d requests are set aside that ClickHouse has refused", len(rejected))
	}
	return ok(check, "%s, nothing set aside", dir)
}

func checkStateDatabase(ctx context.Context, cfg Config) policy.Finding {
	const check = "state"
	if !cfg.replicated() {
		if _, err := os.Stat(cfg.database()); errors.Is(err, os.ErrNotExist) {
			return warn(check, "headgate serve makes it", "%s is not there yet", cfg.database())
		}
	}
	if err := store.Probe(ctx, cfg.database()); err != nil {
		return fail(check, "headgate cannot start without it: see docs/postgresql.md, or restore a backup", err)
	}
	if cfg.replicated() {
		return ok(check, "PostgreSQL answers")
	}
	return ok(check, "%s", cfg.database())
}

func checkLibrary(cfg Config) policy.Finding {
	const check = "engine library"
	if cfg.servers() {
		return ok(check, "not needed with a server")
	}
	path, err := engine.FindLibrary(cfg.EngineLib)
	if err != nil {
		return fail(check, "make engine-lib fetches it", err)
	}
	return ok(check, "%s", path)
}

func checkRunning(ctx context.Context, cfg Config) policy.Finding {
	const check = "headgate"
	a, err := readAddresses(cfg.DataDir)
	if err != nil {
		return warn(check, "", "none runs on %s", cfg.DataDir)
	}
	text, err := fetchText(ctx, http.MethodGet, "http://"+a.Telemetry+"/readyz")
	if err != nil {
		return fail(check, "see its log", err)
	}
	return ok(check, "%s", strings.TrimSpace(text))
}

// checkFleet asks the headgate that runs whom else it sees.
func checkFleet(ctx context.Context, cfg Config) policy.Finding {
	const check = "roles"
	a, err := readAddresses(cfg.DataDir)
	var report fleetReport
	if err == nil {
		var text string
		if text, err = fetchText(ctx, http.MethodGet, "http://"+a.Telemetry+"/debug/fleet"); err == nil {
			err = json.Unmarshal([]byte(text), &report)
		}
	}
	if err != nil {
		return fail(check, "see the log of headgate", err)
	}
	if len(report.Missing) > 0 {
		return warn(check, "start headgate serve with --role "+strings.Join(report.Missing, " and one with --role ")+"; /debug/fleet of --telemetry tells who was there",
			"no process has the role %s: nobody does its work", strings.Join(report.Missing, ", nor one "))
	}
	return ok(check, "every role has a process; %d were seen within a day", len(report.Processes))
}

// checkClickHouse asks the server that is given, for roles that stand on no walls.
func checkClickHouse(ctx context.Context, cfg Config) policy.Finding {
	const check = "clickhouse"
	opt, err := storage.ParseURL(cfg.ClickHouse)
	if err != nil {
		return fail(check, "see --help on --clickhouse", err)
	}
	conn, err := storage.Open(opt)
	if err == nil {
		err = errors.Join(conn.Ping(ctx), conn.Close())
	}
	if err != nil {
		return fail(check, "see whether it answers at --clickhouse, with this account", err)
	}
	return ok(check, "answers; the walls between tenants are checked where queries are answered, and at control with --clickhouse-reader")
}

// checkWalls asks the headgate that runs, or else the server that is given.
func checkWalls(ctx context.Context, cfg Config, running bool) []policy.Finding {
	const check = "walls"
	if running {
		a, err := readAddresses(cfg.DataDir)
		var report wallsReport
		if err == nil {
			var text string
			if text, err = fetchText(ctx, http.MethodPost, "http://"+a.Telemetry+"/debug/walls"); err == nil {
				err = json.Unmarshal([]byte(text), &report)
			}
		}
		switch {
		case err != nil:
			return []policy.Finding{fail(check, "give doctor the --role of this headgate, or see its log", err)}
		case !report.Known:
			return []policy.Finding{fail(check, "see whether ClickHouse answers", errors.New("not checked yet: queries are not answered until they are"))}
		}
		return report.Findings
	}
	if !cfg.servers() {
		return []policy.Finding{warn(check, "run doctor while headgate serve runs", "the embedded engine does not run")}
	}
	b, err := serverBackend(cfg)
	if err != nil {
		return []policy.Finding{fail(check, "see --help on --clickhouse-reader and --clickhouse-policy-key", err)}
	}
	conns, err := b.connect()
	if err != nil {
		return []policy.Finding{fail(check, "see --help on --clickhouse", err)}
	}
	defer conns.close()
	findings, err := b.walls(conns, nil)(ctx)
	if err != nil {
		return []policy.Finding{fail("clickhouse", "see whether it answers at --clickhouse and --clickhouse-reader, with these accounts", err)}
	}
	return findings
}

const maxReportBytes = 1 << 20

func fetchText(ctx context.Context, method, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReportBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %s", url, resp.StatusCode, strings.TrimSpace(string(text)))
	}
	return string(text), err
}
