package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
)

// queryConfig is how queries are answered, beside what each of them may cost.
type queryConfig struct {
	Cache  byteSize      // none: nothing is kept
	MaxAge time.Duration // of an answer that is given again unasked
	Slow   time.Duration // from which on a query is logged
	Tiers  string        // path
}

func defaultQueryConfig() queryConfig {
	return queryConfig{Cache: bytesOf(64 << 20), MaxAge: 5 * time.Second, Slow: 10 * time.Second}
}

func (c *queryConfig) register(f *pflag.FlagSet) {
	f.Var(&c.Cache, "query-cache", "memory for answers that are kept, to be given again to who may read the same and asks the same (none: each question is put to ClickHouse)")
	f.DurationVar(&c.MaxAge, "query-cache-age", c.MaxAge, "how old such an answer may be if the request does not say, up to 1m, where its time range ended a minute ago or earlier (0: only where requests allow it)")
	f.DurationVar(&c.Slow, "query-slow", c.Slow, "a query that takes this long is logged, without what it asks for (0: none)")
	f.StringVar(&c.Tiers, "query-tiers", c.Tiers, "JSON file with sets of query limits by name, of which a tenant has the one that its query_tier names: {\"small\": {\"execution\": \"5s\", \"memory\": \"256MiB\"}} (empty: the same limits for all)")
}

func (c *queryConfig) validate() error {
	var errs []error
	if c.Cache.bytes != nil && *c.Cache.bytes < 8<<20 {
		errs = append(errs, fmt.Errorf("--query-cache %s: want none, or 8MiB or more", c.Cache.String()))
	}
	if c.MaxAge < 0 || c.MaxAge > time.Minute {
		errs = append(errs, fmt.Errorf("--query-cache-age %v: want 0 to 1m", c.MaxAge))
	}
	if c.Slow < 0 {
		errs = append(errs, fmt.Errorf("--query-slow %v: want 0 or more", c.Slow))
	}
	return errors.Join(errs...)
}

// cacheBytes is what --query-cache says, 0 for none.
func (c *queryConfig) cacheBytes() int64 {
	if c.Cache.bytes == nil {
		return 0
	}
	return *c.Cache.bytes
}
