package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/headgate-io/headgate/storage/engine"
	"github.com/headgate-io/headgate/storage/policy"
	"github.com/headgate-io/headgate/storage/schema"
)

// readingDir is where stores are kept: -data, or a directory that done removes.
func readingDir(o options) (dir string, done func(), err error) {
	if o.data != "" {
		return o.data, func() {}, nil
	}
	dir, err = os.MkdirTemp("", "headgate-reading-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// store is an engine with the rows of -reading, and headgate in front of it: started as with a ClickHouse server of its own,
// so that the engine can be asked directly too.
type store struct {
	dir    string
	rows   rowMaker
	srv    *server
	sql    *sqlClient
	engine *engine.Supervisor
	ended  chan error
	cancel context.CancelFunc
}

const (
	readingDatabase = "telemetry"
	engineNice      = 5 // the default of --engine-nice
)

// made is what a directory keeps about its rows, in reading.json.
type made struct {
	Tenants []readingTenant
	Only    int
	Day     time.Time
	Rows    int64
}

// openStore starts both in dir, and makes the rows if there are none yet.
func openStore(ctx context.Context, o options, dir string, only int, progress io.Writer) (s *store, err error) {
	s = &store{dir: dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.start(ctx, o); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "reading.json"))
	if err == nil {
		var m made
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, err
		}
		s.rows = rowMaker{tenants: m.Tenants, only: m.Only, day: m.Day, rows: m.Rows}
		return s, s.settled(ctx, progress)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	s.rows = rowMaker{only: only, day: today.AddDate(0, 0, -readingDays), rows: o.rows}
	if err := s.makeTenants(ctx, o.tenants); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, progress); err != nil {
		return nil, err
	}
	raw, err = json.Marshal(made{s.rows.tenants, only, s.rows.day, s.rows.rows})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "reading.json"), raw, 0o600); err != nil {
		return nil, err
	}
	return s, s.settled(ctx, progress)
}

func (s *store) start(ctx context.Context, o options) error {
	data := filepath.Join(s.dir, "clickhouse")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	keyFile, users := filepath.Join(s.dir, "clickhouse.key"), filepath.Join(data, "users.xml")
	key, err := policy.OpenKey(keyFile)
	if err != nil {
		return err
	}
	if err := policy.WriteUsers(users, readingDatabase, key); err != nil {
		return err
	}
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	s.engine, err = engine.NewSupervisor(engine.Options{
		DataDir: data, UsersFile: users, OwnComment: key.Internal(), Command: []string{binary, "engine"}, Nice: engineNice,
	}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), nil)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	s.cancel, s.ended = cancel, make(chan error, 1)
	go func() { s.ended <- s.engine.Run(running) }()
	select {
	case <-s.engine.Ready():
	case err := <-s.ended:
		s.ended <- err
		return fmt.Errorf("engine: %w", err)
	}
	w, r := s.engine.WriterOptions().Auth, s.engine.ReaderOptions().Auth
	at := func(user, password string) string {
		return fmt.Sprintf("http://%s:%s@%s/%s", user, password, s.engine.Addr(), readingDatabase)
	}
	s.sql = &sqlClient{addr: "http://" + s.engine.Addr(), user: w.Username, password: w.Password}
	// What an earlier run said of its addresses is of no use.
	if err := os.Remove(filepath.Join(s.dir, "data", "addresses.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.srv, err = boot(ctx, o.binary, s.dir,
		"--clickhouse", at(w.Username, w.Password), "--clickhouse-reader", at(r.Username, r.Password),
		"--clickhouse-policy-key", keyFile, "--clickhouse-capability", string(policy.EngineCarrier))
	return err
}

// close stops what runs; the rows stay.
func (s *store) close() {
	if s.srv != nil {
		s.srv.stop()
	}
	if s.cancel != nil {
		s.cancel()
		<-s.ended
	}
}

// makeTenants makes n tenants, the largest first, and a key for each.
func (s *store) makeTenants(ctx context.Context, n int) error {
	for k, share := range sizes(n) {
		t := readingTenant{Name: fmt.Sprintf("tenant-%02d", k+1), Share: share}
		var err error
		if t.Key, err = s.srv.tenant(ctx, t.Name); err != nil {
			return err
		}
		s.rows.tenants = append(s.rows.tenants, t)
	}
	out, err := exec.CommandContext(ctx, s.srv.binary, "tenant", "list", "--json", "--data-dir", s.srv.data).Output()
	if err != nil {
		return err
	}
	var list struct {
		Tenants []struct{ ID, Name, Partition string }
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return fmt.Errorf("list of tenants: %w", err)
	}
	for i := range s.rows.tenants {
		t := &s.rows.tenants[i]
		for _, l := range list.Tenants {
			if l.Name == t.Name {
				t.ID, t.Partition = l.ID, cmp.Or(l.Partition, "shared-00")
			}
		}
		if t.ID == "" {
			return fmt.Errorf("tenant %s is not listed", t.Name)
		}
	}
	return nil
}

// fill makes all rows, merges them, and tells how long each table took.
func (s *store) fill(ctx context.Context, progress io.Writer) error {
	insert := func(what, sql string) error {
		begin, used := time.Now(), cpu(s.engine.PID())
		_, err := s.sql.run(ctx, sql, "max_execution_time", "0", "max_insert_threads", "1", "max_block_size", "65536",
			"min_insert_block_size_rows", "1000000", "min_insert_block_size_bytes", "0", "max_memory_usage", "0")
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		fmt.Fprintf(progress, "%s: %.0f s, CPU %.0f s\n", what, time.Since(begin).Seconds(), (cpu(s.engine.PID()) - used).Seconds())
		return nil
	}
	for day := range readingDays {
		if err := insert(fmt.Sprintf("logs of day %d", day+1), s.rows.logs(day)); err != nil {
			return err
		}
		if err := insert(fmt.Sprintf("spans of day %d", day+1), s.rows.spans(day)); err != nil {
			return err
		}
	}
	for _, p := range pointKinds {
		if err := insert("series of "+p.kind, s.rows.seriesRows(p)); err != nil {
			return err
		}
		if err := insert("points of "+p.kind, s.rows.points(p)); err != nil {
			return err
		}
	}
	// Stores with many rows and with few are to be compared, not how far their merges have come.
	for _, table := range schema.Tables {
		if err := insert("merges of "+table, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until no merge runs, ten minutes at most.
func (s *store) settled(ctx context.Context, progress io.Writer) error {
	for end, quiet := time.Now().Add(10*time.Minute), 0; quiet < 3 && time.Now().Before(end); time.Sleep(time.Second) {
		out, err := s.sql.run(ctx, "SELECT count() FROM system.merges")
		if err != nil {
			return err
		}
		if quiet++; strings.TrimSpace(string(out.body)) != "0" {
			quiet = 0
		}
	}
	out, err := s.sql.run(ctx, `SELECT table, sum(rows), count(), uniq(partition_id), round(sum(bytes_on_disk) / 1e6) FROM system.parts
		WHERE active AND database = '`+readingDatabase+`' GROUP BY table ORDER BY table FORMAT TSV`)
	if err == nil {
		_, err = fmt.Fprintf(progress, "table, rows, parts, partitions, MB:\n%s", out.body)
	}
	return err
}

// sqlClient asks the engine as the identity that may read everything.
type sqlClient struct{ addr, user, password string }

type sqlAnswer struct {
	body []byte
	rows int64 // that were read
	took time.Duration
}

// run runs a statement under settings given as names and values.
func (c *sqlClient) run(ctx context.Context, sql string, settings ...string) (sqlAnswer, error) {
	v := url.Values{"database": {readingDatabase}, "default_format": {"TSV"}, "wait_end_of_query": {"1"}}
	for i := 0; i < len(settings); i += 2 {
		v.Set(settings[i], settings[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.addr+"/?"+v.Encode(), strings.NewReader(sql))
	if err != nil {
		return sqlAnswer{}, err
	}
	req.Header.Set("X-ClickHouse-User", c.user)
	req.Header.Set("X-ClickHouse-Key", c.password)
	begin := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return sqlAnswer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, raw)
	}
	var summary struct {
		Rows int64 `json:"read_rows,string"`
	}
	_ = json.Unmarshal([]byte(resp.Header.Get("X-ClickHouse-Summary")), &summary)
	return sqlAnswer{raw, summary.Rows, time.Since(begin)}, err
}
