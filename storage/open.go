package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/internal/chhttp"
)

// DefaultDatabase holds the tables where the ClickHouse URL names no other.
const DefaultDatabase = "headgate"

// ParseURL reads a ClickHouse URL, http(s)://[user[:password]@]host[:port][/database], into the driver's options.
// The errors never contain the password.
func ParseURL(raw string) (*clickhouse.Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("clickhouse url: not a URL; want http://user:password@host:8123/database")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("clickhouse url %s: scheme %q; headgate speaks ClickHouse's HTTP interface, want http:// or https:// (port 8123 or 8443)", u.Redacted(), u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("clickhouse url %s: no host", u.Redacted())
	}
	database := strings.Trim(u.Path, "/")
	if database == "" {
		database = DefaultDatabase
	}
	if !isIdentifier(database) {
		return nil, fmt.Errorf("clickhouse url %s: database %q is not a plain name of letters, digits and _", u.Redacted(), database)
	}
	u.Path = "/" + database
	if q := u.Query(); u.Scheme == "https" {
		q.Set("secure", "true") // the driver wants to hear it twice
		u.RawQuery = q.Encode()
	}
	opt, err := clickhouse.ParseDSN(u.String())
	if err != nil {
		return nil, fmt.Errorf("clickhouse url %s: not understood; want http://user:password@host:8123/database", u.Redacted())
	}
	return opt, nil
}

func isIdentifier(s string) bool {
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// Open makes the connection pool that opt describes; it dials nothing yet. An INSERT on it may have the setting decompress.
func Open(opt *clickhouse.Options) (driver.Conn, error) {
	framed := *opt
	framed.TransportFunc = chhttp.Transport
	pool, err := clickhouse.Open(&framed)
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", err)
	}
	return pool, nil
}

// CreateDatabase creates the database that opt names if it is missing. It fails with the driver's error while ClickHouse
// cannot be reached.
func CreateDatabase(ctx context.Context, opt *clickhouse.Options) error {
	if !isIdentifier(opt.Auth.Database) {
		return fmt.Errorf("create database: %q is not a plain name", opt.Auth.Database)
	}
	first := *opt
	first.Auth.Database = "default"
	conn, err := clickhouse.Open(&first)
	if err != nil {
		return fmt.Errorf("open clickhouse: %w", err)
	}
	defer conn.Close()
	if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+opt.Auth.Database); err != nil {
		return fmt.Errorf("create database %s: %w", opt.Auth.Database, err)
	}
	return nil
}
