package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/store"
)

// takeRegions takes the parameter region out of the URLs of ClickHouse and the store, which their drivers do not know, and
// compares what they declare with --region.
func (c *Config) takeRegions() error {
	want, err := auth.NormalRegion(c.Region)
	if err != nil {
		return fmt.Errorf("--region: %w", err)
	}
	c.Region = want
	if c.declared == nil {
		c.declared = map[string]string{}
	}
	for _, f := range []struct {
		flag string
		url  *string
	}{{"--clickhouse", &c.ClickHouse}, {"--clickhouse-reader", &c.Server.Reader}, {"--store", &c.Store}} {
		u, err := url.Parse(*f.url)
		if err != nil || !u.Query().Has("region") {
			continue // what is no URL is refused by who reads it
		}
		q := u.Query()
		region, err := auth.NormalRegion(q.Get("region"))
		if err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
		q.Del("region")
		u.RawQuery = q.Encode()
		*f.url, c.declared[f.flag] = u.String(), region
	}
	if want != "" {
		return c.checkRegion(want)
	}
	return nil
}

// checkRegion returns an error if a URL declares another region than the deployment's.
func (c *Config) checkRegion(region string) error {
	for _, flag := range []string{"--clickhouse", "--clickhouse-reader", "--store"} {
		if declared, ok := c.declared[flag]; ok && declared != region {
			return fmt.Errorf("%s is of region %q, this deployment of %q: data does not leave its region", flag, declared, region)
		}
	}
	return nil
}

// fixRegion makes --region the deployment's at its first start, and compares it later.
func (c *Config) fixRegion(ctx context.Context, db *store.DB) error {
	region, err := auth.FixRegion(ctx, db, c.Region)
	if err != nil {
		return fmt.Errorf("--region: %w", err)
	}
	return c.checkRegion(region)
}
