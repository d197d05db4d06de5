package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/policy"
)

// policyKeyFile is the key of a server's row policies, among the secret files.
const policyKeyFile = "clickhouse.key"

// serverConfig is what serve is told of a ClickHouse server beside its URL.
type serverConfig struct {
	Reader     string // URL
	PolicyKey  string // file
	Capability string // setting
}

func (c *serverConfig) register(f *pflag.FlagSet) {
	f.StringVar(&c.Reader, "clickhouse-reader", c.Reader, "the same ClickHouse as the account that only reads, http://headgate_reader:pass@host:8123/db, as headgate clickhouse-setup makes it; without it --clickhouse takes data and refuses queries; --role query needs this one alone")
	f.StringVar(&c.PolicyKey, "clickhouse-policy-key", c.PolicyKey, "file of the key that its row policies were made with (empty: "+policyKeyFile+" in the secrets directory)")
	f.StringVar(&c.Capability, "clickhouse-capability", c.Capability, "setting that its row policies read capabilities from")
}

var customSettingRe = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]+$`)

// validate returns all that is wrong, given the --clickhouse beside it and whether that is needed.
func (c *serverConfig) validate(clickHouse string, writes bool) error {
	var errs []error
	if c.Reader != "" {
		if clickHouse == "" && writes {
			errs = append(errs, errors.New("--clickhouse-reader needs --clickhouse: the embedded engine has a reading identity of its own"))
		}
		read, err := storage.ParseURL(c.Reader)
		if err != nil {
			errs = append(errs, fmt.Errorf("--clickhouse-reader: %w", err))
		}
		if write, errWrite := storage.ParseURL(clickHouse); err == nil && errWrite == nil {
			if read.Auth.Database != write.Auth.Database {
				errs = append(errs, fmt.Errorf("--clickhouse-reader is of database %s and --clickhouse of %s: want the same", read.Auth.Database, write.Auth.Database))
			}
			if read.Auth.Username == write.Auth.Username {
				errs = append(errs, fmt.Errorf("--clickhouse-reader is of the user of --clickhouse, %s: want one that can only read", read.Auth.Username))
			}
		}
	}
	if !customSettingRe.MatchString(c.Capability) {
		errs = append(errs, fmt.Errorf("--clickhouse-capability %q: want the name of a custom setting, such as %s", c.Capability, policy.ServerCarrier))
	}
	return errors.Join(errs...)
}

func (c *Config) policyKey() string {
	return cmp.Or(c.Server.PolicyKey, filepath.Join(c.secrets(), policyKeyFile))
}
