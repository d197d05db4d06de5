package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage/schema"
)

// migration is one file of statements, applied whole and once.
type migration struct {
	version    uint32
	name       string
	checksum   string // of the file, hex
	statements []string
}

// ErrSchema reports a database whose schema is not one that this headgate can work with; trying again does not help.
var ErrSchema = errors.New("schema of the database does not fit this headgate")

const migrationsTable = `CREATE TABLE IF NOT EXISTS ` + schema.AppliedMigrations + ` (
    version UInt32, name String, checksum String, applied_at DateTime DEFAULT now()
) ENGINE = MergeTree ORDER BY version`

// Migrate brings the database that conn points at to the newest version of the schema. It may be called at every
// start. A statement that died half way is run again, so each must be repeatable. A database whose applied migrations
// differ from files, or are newer than them, is refused: it belongs to another version of headgate.
func Migrate(ctx context.Context, conn driver.Conn, files fs.FS, log *slog.Logger) error {
	all, err := readMigrations(files)
	if err != nil {
		return err
	}
	if err := conn.Exec(ctx, migrationsTable); err != nil {
		return fmt.Errorf("create headgate_migrations: %w", err)
	}
	applied, err := appliedMigrations(ctx, conn)
	if err != nil {
		return err
	}
	if err := fits(all, applied); err != nil {
		return err
	}
	for _, m := range all {
		if _, done := applied[m.version]; done {
			continue
		}
		for i, stmt := range m.statements {
			if err := conn.Exec(ctx, stmt); err != nil {
				return fmt.Errorf("migration %04d_%s, statement %d: %w", m.version, m.name, i+1, err)
			}
		}
		// Last, so that a start that dies before it applies the file again rather than half of it never.
		err := conn.Exec(ctx, `INSERT INTO `+schema.AppliedMigrations+` (version, name, checksum) VALUES (`+
			strconv.FormatUint(uint64(m.version), 10)+`, '`+m.name+`', '`+m.checksum+`')`)
		if err != nil {
			return fmt.Errorf("record migration %04d_%s: %w", m.version, m.name, err)
		}
		log.Info("schema migrated", "version", m.version, "name", m.name)
	}
	return nil
}

// CheckSchema looks, by a connection that need not be allowed to write, whether the database has the tables of files. ErrNotYet says that
// they are not there, or older; ErrSchema as for Migrate.
func CheckSchema(ctx context.Context, conn driver.Conn, files fs.FS) error {
	all, err := readMigrations(files)
	if err != nil {
		return err
	}
	applied, err := appliedMigrations(ctx, conn)
	var answer *clickhouse.Exception
	if errors.As(err, &answer) && (answer.Code == codeUnknownTable || answer.Code == codeUnknownDatabase) {
		return fmt.Errorf("%w: there are none", ErrNotYet)
	}
	if err == nil {
		err = fits(all, applied)
	}
	if err == nil && len(applied) < len(all) {
		err = fmt.Errorf("%w: they are of version %d, and this headgate reads %d", ErrNotYet, len(applied), len(all))
	}
	return err
}

// Codes of ClickHouse's answers.
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
)

// ErrNotYet reports that a headgate which may write has yet to make the tables, or to bring them up to date.
var ErrNotYet = errors.New("tables of the database are not ready")

// fits reports whether what was applied is of files, and not newer.
func fits(all []migration, applied map[uint32]string) error {
	for v := range applied {
		if v > uint32(len(all)) {
			return fmt.Errorf("%w: it has version %d and this headgate knows %d; run the newer headgate", ErrSchema, v, len(all))
		}
	}
	for _, m := range all {
		if sum, done := applied[m.version]; done && sum != m.checksum {
			return fmt.Errorf("%w: migration %04d_%s was applied with other content; the database belongs to another build", ErrSchema, m.version, m.name)
		}
	}
	return nil
}

func appliedMigrations(ctx context.Context, conn driver.Conn) (map[uint32]string, error) {
	rows, err := conn.Query(ctx, "SELECT version, checksum FROM "+schema.AppliedMigrations)
	if err != nil {
		return nil, fmt.Errorf("read headgate_migrations: %w", err)
	}
	defer rows.Close()
	applied := map[uint32]string{}
	for rows.Next() {
		var version uint32
		var checksum string
		if err := rows.Scan(&version, &checksum); err != nil {
			return nil, fmt.Errorf("read headgate_migrations: %w", err)
		}
		applied[version] = checksum
	}
	return applied, rows.Err()
}

var migrationName = regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)\.sql$`)

// readMigrations returns the files in order. They must be numbered 1, 2, 3, … without a gap.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql") // sorted, so by number
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names {
		part := migrationName.FindStringSubmatch(name)
		if part == nil || part[1] != fmt.Sprintf("%04d", i+1) {
			return nil, fmt.Errorf("migration %s: want %04d_name.sql", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{
			version: uint32(i + 1), name: part[2], checksum: hex.EncodeToString(sum[:]),
			statements: splitStatements(string(text)),
		})
	}
	return all, nil
}

// splitStatements cuts a file at each ";" that ends a line and drops whole-line "--" comments.
func splitStatements(text string) []string {
	var out []string
	var stmt strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		body, ends := strings.CutSuffix(strings.TrimRight(line, " \r\n"), ";")
		stmt.WriteString(body + "\n")
		if ends {
			out = append(out, strings.TrimSpace(stmt.String()))
			stmt.Reset()
		}
	}
	if rest := strings.TrimSpace(stmt.String()); rest != "" {
		out = append(out, rest)
	}
	return out
}
