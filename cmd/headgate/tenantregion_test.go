package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store"
)

func TestDataDoesNotLeaveItsRegion(t *testing.T) {
	place := filepath.Join(t.TempDir(), "headgate.db")
	start := func(region, clickhouse, want string) {
		t.Helper()
		c := DefaultConfig()
		c.Region, c.ClickHouse = region, clickhouse
		err := c.Validate()
		if err == nil {
			var db *store.DB
			if db, err = store.Open(place); err != nil {
				t.Fatal(err)
			}
			err = c.fixRegion(t.Context(), db)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("start with %q and %q: %v, want %q", region, clickhouse, err, want)
		}
		if strings.Contains(c.ClickHouse, "region") {
			t.Errorf("the driver is told %s", c.ClickHouse)
		}
	}
	const server = "http://u:p@127.0.0.1:8123/db"
	readFrom := func(region, want string) {
		t.Helper()
		c := DefaultConfig()
		c.Region, c.ClickHouse, c.Server.Reader = "eu", server, "http://r:p@127.0.0.1:8123/db?region="+region
		err := c.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("read from region %s: %v, want %q", region, err, want)
		}
		if strings.Contains(c.Server.Reader, "region") {
			t.Errorf("the driver is told %s", c.Server.Reader)
		}
	}
	readFrom("us", "--clickhouse-reader is of region")
	readFrom("EU", "")
	start("e u", "", "--region")
	start("", server+"?region=eu", "--clickhouse is of region")
	start("", server, "")
	start("us", server+"?region=eu", "--clickhouse is of region")
	start("EU", server+"?region=eu", "")
	start("", server+"?region=eu", "")
	start("", server+"?region=us", "--clickhouse is of region")
	start("us", server, "never changes")
}
