package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// minPostgres is the oldest server, as server_version_num has it.
	minPostgres = 130000
	// connectTimeout bounds the making of a connection to one address, unless the URL has connect_timeout.
	connectTimeout = 5 * time.Second
	// connLifetime lets connections move to where a name or a proxy leads meanwhile.
	connLifetime = 30 * time.Minute

	updateLimit    = 30 * time.Second // of an Update
	viewLimit      = time.Minute      // of a View
	migrationLimit = time.Hour        // of one migration, waiting for another process's included
)

// bounds are what the server itself bounds, so that a replica that died, hangs or is cut off holds nobody up for long: it ends
// the transaction of a client that has been silent for idle, and with it the lock. Who waits for the lock waits longer.
type bounds struct{ idle, lock, statement time.Duration }

var (
	usual     = bounds{idle: 5 * time.Second, lock: 15 * time.Second, statement: 20 * time.Second}
	migrating = bounds{idle: usual.idle, lock: migrationLimit, statement: migrationLimit}
)

// postgres is a state database on a PostgreSQL server.
type postgres struct {
	config *pgx.ConnConfig
	bounds bounds
	name   string // what errors call it
	schema string // of the tables; known when it is open
}

var postgresDialect = dialect{
	name: "postgres",
	// Other programs have a table of that name too.
	tables: `SELECT count(*), count(CASE WHEN tablename = 'schema_migrations' AND EXISTS (
			SELECT 1 FROM information_schema.columns c
			WHERE c.table_schema = t.schemaname AND c.table_name = t.tablename AND c.column_name = 'name') THEN 1 END)
		FROM pg_tables t WHERE schemaname = current_schema()`,
	create: `CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, name TEXT COLLATE "C" NOT NULL)`,
}

// parsePostgres reads the URL; what it leaves out comes from libpq's environment variables and password file.
//
// SECURITY: the error says nothing of a URL that cannot be read: a password that is not encoded can be anywhere in it.
func parsePostgres(where string) (*postgres, error) {
	c, err := pgx.ParseConfig(where)
	if err != nil {
		return nil, errors.New("the URL of PostgreSQL cannot be read: want postgres://user:password@host:5432/database?sslmode=verify-full," +
			" other than letters and digits in the password as %40 and so on, and files that it names to be there")
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.ValidateConnect == nil { // of several hosts, the one that takes writes; after a failover that is another
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "headgate"
	}
	host := net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
	return &postgres{config: c, bounds: usual, name: "postgres://" + host + "/" + c.Database}, nil
}

// open connects, checks that the server will do, and migrates.
func (pg *postgres) open(ctx context.Context) (*DB, error) {
	d := &DB{pg: pg, w: pg.pool(1, updateLimit, sql.TxOptions{}),
		r: pg.pool(readConns, viewLimit, sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})}
	if err := pg.prepare(ctx, d); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (pg *postgres) pool(conns int, limit time.Duration, opt sql.TxOptions) *pool {
	db := sql.OpenDB(stdlib.GetConnector(*pg.config))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(connLifetime)
	// Every connection of the pool may have been closed; then one is made.
	return &pool{db: db, tx: opt, limit: limit, tries: conns + 1, rebind: new(rebinder).rebind, pg: pg,
		first: pg.bounds.set()}
}

func (pg *postgres) prepare(ctx context.Context, d *DB) error {
	if err := d.View(ctx, pg.check); err != nil {
		return err
	}
	d.w.first += pg.lock()
	w := *d.w
	w.limit, w.first = migrationLimit, migrating.set()+pg.lock()
	return migrate(ctx, &w, postgresDialect)
}

// check refuses a server that is not fit, and learns the schema.
func (pg *postgres) check(tx *Tx) error {
	var number int
	var version, encoding string
	var schema sql.NullString
	err := tx.QueryRowContext(context.Background(), `SELECT CAST(current_setting('server_version_num') AS BIGINT),
		current_setting('server_version'), current_setting('server_encoding'), current_schema()`).
		Scan(&number, &version, &encoding, &schema)
	if err != nil {
		return err
	}
	pg.schema = schema.String
	return fit(number, version, encoding, pg.schema)
}

// fit returns what a server lacks. No schema is "".
func fit(number int, version, encoding, schema string) error {
	switch {
	case number < minPostgres:
		return fmt.Errorf("the server is PostgreSQL %s: headgate needs %d or later", version, minPostgres/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s: create one WITH ENCODING 'UTF8' TEMPLATE template0", encoding)
	case schema == "":
		return errors.New("no schema of its search_path exists: create the one that the URL names")
	}
	return nil
}

// set begins every transaction. The synchronous_commit of a server, database or role counts unless it is off.
func (b bounds) set() string {
	return fmt.Sprintf(`SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d;
		SET LOCAL idle_in_transaction_session_timeout = %d;
		SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';`,
		b.lock.Milliseconds(), b.statement.Milliseconds(), b.idle.Milliseconds())
}

// lock lets one Update run at a time in the schema, over all replicas. It comes before the first query, whose snapshot is
// thereby taken after the commit of the Update before.
func (pg *postgres) lock() string {
	h := fnv.New64a()
	h.Write([]byte("headgate state in schema " + pg.schema))
	return fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d);`, int64(h.Sum64()))
}
