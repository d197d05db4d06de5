package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/policy"
)

type setupFlags struct {
	dataDir, secretsDir, keyFile, out, server string
	database, cluster, capability             string
	query                                     Config // for the limits of queries
}

// The accounts that clickhouse-setup makes.
const (
	writerAccount = "headgate_writer"
	readerAccount = "headgate_reader"
)

func newClickHouseSetup() *cobra.Command {
	f := setupFlags{query: DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "clickhouse-setup --server URL --out DIR",
		Short: "Write what a ClickHouse server needs to keep tenants apart",
		Long: `Clickhouse-setup writes to DIR what makes a ClickHouse server ready for headgate; it asks no server:

  config.d/headgate.xml  the server's own configuration: copy it to /etc/clickhouse-server/config.d and restart the server
  setup.sql              accounts, grants, settings and row policies: run it as an account that manages access
  headgate.env           --clickhouse and --clickhouse-reader of headgate serve, as environment variables
  headgate-query.env     --clickhouse-reader alone, for headgate serve --role query

The policies show rows to capabilities that headgate signs with a key, which is made at the first run. headgate serve needs the
file. The reader's password follows from it, and the writer's from a second one beside it that nobody else needs, so that with these
every run writes the same: run it again after an update of headgate, which may have new tables, or with other limits of queries. With
another key every statement of an older headgate is refused. See deploy/clickhouse/README.md.`,
		Example: `  headgate clickhouse-setup --server http://clickhouse:8123 --out ./clickhouse
  clickhouse-client --user admin --multiquery < clickhouse/setup.sql`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.out == "" || f.server == "" {
				return &usageError{errors.New("name the server as headgate will reach it and the directory to write: --server http://host:8123 --out DIR")}
			}
			return f.write(cmd)
		},
	}
	d := f.query
	cmd.Flags().StringVar(&f.dataDir, "data-dir", "./data", "data directory of the server")
	cmd.Flags().StringVar(&f.secretsDir, "secrets-dir", "", "directory of the secret files (empty: the data directory)")
	cmd.Flags().StringVar(&f.keyFile, "clickhouse-policy-key", "", "file of the key (empty: "+policyKeyFile+" in the secrets directory); made if there is none")
	cmd.Flags().StringVar(&f.capability, "clickhouse-capability", string(policy.ServerCarrier), "custom setting that capabilities travel in")
	cmd.Flags().StringVar(&f.server, "server", "", "URL of the server, without account: http://host:8123")
	cmd.Flags().StringVar(&f.database, "database", storage.DefaultDatabase, "database of the telemetry")
	cmd.Flags().StringVar(&f.cluster, "cluster", "", "cluster to make all of it on (empty: one server)")
	cmd.Flags().StringVar(&f.out, "out", "", "directory to write to")
	cmd.Flags().DurationVar(&f.query.QueryTimeout, "query-timeout", d.QueryTimeout, "as of headgate serve, or more")
	cmd.Flags().Var(&f.query.QueryMaxMemory, "query-max-memory", "as of headgate serve, or more")
	return cmd
}

func (f *setupFlags) write(cmd *cobra.Command) error {
	u, err := url.Parse(f.server)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.Scheme != "http" && u.Scheme != "https" {
		return &usageError{fmt.Errorf("--server %q: want http://host:8123, without account and database", f.server)}
	}
	secrets := cmp.Or(f.secretsDir, f.dataDir)
	path := cmp.Or(f.keyFile, filepath.Join(secrets, policyKeyFile))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	keys, err := openSetupKeys(path)
	if err != nil {
		return err
	}
	s := serverSetup(keys, f.database, f.cluster, policy.Carrier(f.capability), f.query)
	if err := s.Validate(); err != nil {
		return &usageError{err}
	}
	line := func(name, account string) string {
		with := *u
		with.User, with.Path = url.UserPassword(account, keys.password(account)), "/"+f.database
		return name + "=" + with.String() + "\n"
	}
	reads := line("HEADGATE_CLICKHOUSE_READER", s.Reader)
	if f.capability != string(policy.ServerCarrier) {
		reads += "HEADGATE_CLICKHOUSE_CAPABILITY=" + f.capability + "\n"
	}
	files := []struct {
		name, text string
		mode       os.FileMode
	}{
		{"config.d/headgate.xml", s.Config(), 0o644}, {"setup.sql", s.SQL(), 0o600},
		{"headgate.env", line("HEADGATE_CLICKHOUSE", s.Writer) + reads, 0o600}, {"headgate-query.env", reads, 0o600},
	}
	for _, file := range files {
		path := filepath.Join(f.out, filepath.FromSlash(file.name))
		if err := writeSetup(path, file.text, file.mode); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), path)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "The key is in %s: headgate serve needs it, and nobody else. Keep %s beside it for later runs. setup.sql and both .env files are secret, too.\n",
		path, writerKeyFile)
	return nil
}

// writeSetup replaces a file. SECURITY: one that was there with a wider mode does not keep it.
func writeSetup(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := removeIfThere(path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

// setupKeys are what clickhouse-setup makes passwords of.
//
// SECURITY: whoever signs capabilities only needs the first. One key for both accounts would give the password of the writing one to
// processes that only read.
type setupKeys struct{ policy, writer policy.Key }

// writerKeyFile is the key of the writing account's password, beside that of the policies.
const writerKeyFile = "clickhouse-writer.key"

// openSetupKeys reads the keys, or makes them where there are none. A key of the policies that was made without the other goes on for both.
func openSetupKeys(path string) (k setupKeys, err error) {
	writer := filepath.Join(filepath.Dir(path), writerKeyFile)
	_, errPolicy := os.Stat(path)
	if _, err := os.Stat(writer); errPolicy == nil && errors.Is(err, os.ErrNotExist) {
		k.policy, err = policy.OpenKey(path)
		k.writer = k.policy
		return k, err
	}
	// In this order: a run that dies between them has not made one key for both.
	if k.writer, err = policy.OpenKey(writer); err != nil {
		return k, err
	}
	k.policy, err = policy.OpenKey(path)
	return k, err
}

func (k setupKeys) password(account string) string {
	if account == writerAccount {
		return k.writer.Password(account)
	}
	return k.policy.Password(account)
}

func serverSetup(keys setupKeys, database, cluster string, carrier policy.Carrier, cfg Config) policy.Server {
	s := policy.Server{Database: database, Cluster: cluster, Writer: writerAccount, Reader: readerAccount, Carrier: carrier, Key: keys.policy}
	hash := func(account string) string {
		sum := sha256.Sum256([]byte(keys.password(account)))
		return hex.EncodeToString(sum[:])
	}
	s.WriterHash, s.ReaderHash = hash(s.Writer), hash(s.Reader)
	p := query.ProfileOf(query.Limits{MaxExecution: cfg.QueryTimeout, MaxMemoryBytes: *cfg.QueryMaxMemory.bytes})
	s.Fixed, s.AtMost, s.Free = p.Fixed, p.AtMost, p.Free
	return s
}
