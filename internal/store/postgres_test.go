package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/pgtest"
)

// openBounded opens the database with other bounds than the usual ones.
func openBounded(t *testing.T, url string, b bounds) *DB {
	t.Helper()
	pg, err := parsePostgres(url)
	if err != nil {
		t.Fatal(err)
	}
	pg.bounds = b
	d, err := pg.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func setting(t *testing.T, run func(context.Context, func(*Tx) error) error, name string) (value string) {
	t.Helper()
	err := run(t.Context(), func(tx *Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT current_setting(?)`, name).Scan(&value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestPostgresSettingsOfTransactions(t *testing.T) {
	// Whoever wrote the URL, or runs the server, cannot make a commit less than durable.
	d := openTest(t, pgtest.New(t)+"&synchronous_commit=off&statement_timeout=1h")
	for name, want := range map[string]string{
		"synchronous_commit": "on", "transaction_isolation": "read committed", "lock_timeout": "15s", "statement_timeout": "20s",
		"idle_in_transaction_session_timeout": "5s", "application_name": "headgate",
	} {
		if got := setting(t, d.Update, name); got != want {
			t.Errorf("Update has %s = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"transaction_isolation": "repeatable read", "transaction_read_only": "on", "idle_in_transaction_session_timeout": "5s",
	} {
		if got := setting(t, d.View, name); got != want {
			t.Errorf("View has %s = %q, want %q", name, got, want)
		}
	}
	if w, r := d.w.db.Stats().MaxOpenConnections, d.r.db.Stats().MaxOpenConnections; w != 1 || r != readConns {
		t.Errorf("%d and %d connections, want 1 and %d", w, r, readConns)
	}
	for _, level := range []string{"remote_apply", "local"} {
		d := openTest(t, pgtest.New(t)+"&synchronous_commit="+level)
		if got := setting(t, d.Update, "synchronous_commit"); got != level {
			t.Errorf("synchronous_commit = %q, want the %q of the URL", got, level)
		}
	}
}

// A replica that hangs in an Update, or is cut off, is one that says nothing more.
func TestSilentReplicaHoldsNobodyUpForLong(t *testing.T) {
	place := pgtest.New(t)
	hung := openBounded(t, place, bounds{idle: 300 * time.Millisecond, lock: time.Minute, statement: time.Minute})
	other := openTest(t, place)
	holds, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- hung.Update(t.Context(), func(tx *Tx) error {
			err := exec(`UPDATE changes SET n = 100`)(tx)
			close(holds)
			<-goOn
			return err
		})
	}()
	<-holds
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := other.Update(ctx, exec(`UPDATE changes SET n = n + 1`)); err != nil {
		t.Errorf("Update behind a silent replica = %v", err)
	}
	close(goOn)
	if err := <-ended; err == nil {
		t.Error("the silent replica's Update came through")
	}
	if n := counter(t, other); n != 1 {
		t.Errorf("n = %d, want 1", n)
	}
	if err := hung.Update(ctx, exec(`UPDATE changes SET n = n + 1`)); err != nil {
		t.Errorf("its next Update = %v", err)
	}
}

func TestWaitForAnotherUpdateIsBounded(t *testing.T) {
	place := pgtest.New(t)
	busy := openTest(t, place)
	other := openBounded(t, place, bounds{idle: time.Minute, lock: 200 * time.Millisecond, statement: time.Minute})
	err := busy.Update(t.Context(), func(*Tx) error {
		if err := other.View(t.Context(), exec(`SELECT n FROM changes`)); err != nil {
			t.Errorf("View beside an Update = %v", err)
		}
		if err := other.Update(t.Context(), exec(`SELECT 1`)); err == nil || errors.Is(err, ErrInDoubt) {
			t.Errorf("Update behind a busy one = %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Tables of several headgates in one database do not wait for each other.
func TestSchemasAreApart(t *testing.T) {
	a, b := openTest(t, pgtest.New(t)), openTest(t, pgtest.New(t))
	err := a.Update(t.Context(), func(tx *Tx) error {
		if err := exec(`UPDATE changes SET n = 5`)(tx); err != nil {
			return err
		}
		return b.Update(t.Context(), exec(`UPDATE changes SET n = 7`))
	})
	if err != nil || counter(t, a) != 5 || counter(t, b) != 7 {
		t.Errorf("n = %d and %d, %v", counter(t, a), counter(t, b), err)
	}
}

func TestServersThatAreNotFitAreRefused(t *testing.T) {
	for _, c := range []struct {
		number                    int
		version, encoding, schema string
		want                      string
	}{
		{130000, "13.0", "UTF8", "public", ""},
		{129999, "12.20", "UTF8", "public", "needs 13"},
		{170000, "17.0", "SQL_ASCII", "public", "UTF8"},
		{170000, "17.0", "UTF8", "", "search_path"},
	} {
		err := fit(c.number, c.version, c.encoding, c.schema)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("fit(%v) = %v, want %q", c, err, c.want)
		}
	}
	place, err := url.Parse(pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pgtest.Schema(t, place.String(), "none")); err == nil || !strings.Contains(err.Error(), "search_path") {
		t.Errorf("Open of a missing schema = %v", err)
	}
}

func TestForeignTablesInPostgresAreRefused(t *testing.T) {
	for _, table := range []string{`songs (title TEXT)`, `schema_migrations (version BIGINT, dirty BOOLEAN)`} {
		place := pgtest.New(t)
		pgtest.Execute(t, place, `CREATE TABLE `+table)
		if _, err := Open(place); !errors.Is(err, errForeign) {
			t.Errorf("Open beside %s = %v, want errForeign", table, err)
		}
	}
}

func TestPasswordIsInNoError(t *testing.T) {
	const password = "p4s5w0rd"
	for _, where := range []string{
		"postgres://u:" + password + "@127.0.0.1:1/db",
		"postgres://u:" + password + "@127.0.0.1:1,127.0.0.1:2/db?connect_timeout=1",
		"postgres://127.0.0.1:1/db?user=u&password=" + password,
		"postgresql://u:" + password + "@no-such-host.invalid/db",
		"postgres://u:" + password + "%zz@127.0.0.1:1/db",
		"postgres://u:a/" + password + "@127.0.0.1:1/db",
		"postgres://u:a:" + password + "@127.0.0.1:port/db",
		"postgres://u:" + password + "@127.0.0.1:1/db?sslmode=perhaps",
		"postgres://u:" + password + "@127.0.0.1:1/db?sslrootcert=/none&sslmode=verify-full",
		"postgres://u:" + password + " @127.0.0.1:1/db",
	} {
		_, err := Open(where)
		if err == nil || strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%q) = %v", where, err)
		}
		if err := CheckURL(where); err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("CheckURL(%q) = %v", where, err)
		}
	}
	_, err := Open("postgres://u:" + password + "@127.0.0.1:1/db")
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/db") {
		t.Errorf("Open = %v, want an error that names the server and the database", err)
	}
}

func TestNumberedPlaceholders(t *testing.T) {
	for query, want := range map[string]string{
		`SELECT 1`: `SELECT 1`,
		`SELECT ?`: `SELECT $1`,
		`SELECT n FROM t WHERE a = ? AND b IN (?, ?)`: `SELECT n FROM t WHERE a = $1 AND b IN ($2, $3)`,
		`SELECT 'what?', ?`:                           `SELECT 'what?', $1`,
		`SELECT 'it''s?', ?`:                          `SELECT 'it''s?', $1`,
		`SELECT "na?me", ?`:                           `SELECT "na?me", $1`,
		"SELECT ? -- why?\n, ?":                       "SELECT $1 -- why?\n, $2",
		`SELECT ? /* why? */, ?`:                      `SELECT $1 /* why? */, $2`,
		`SELECT ? /*/ why? */, ?`:                     `SELECT $1 /*/ why? */, $2`,
		`SELECT ? - ? / ?`:                            `SELECT $1 - $2 / $3`,
		`SELECT ? -- why?`:                            `SELECT $1 -- why?`,
		`SELECT '?`:                                   `SELECT '?`,
		`SELECT ` + strings.Repeat("?,", 11) + `?`:    `SELECT $1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12`,
		`SELECT 'ü?', ?`:                              `SELECT 'ü?', $1`,
	} {
		if got := number(query); got != want {
			t.Errorf("number(%q) = %q, want %q", query, got, want)
		}
	}
}

func TestStatementsThatAreRememberedAreBounded(t *testing.T) {
	var r rebinder
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range maxRebound + 100 {
				if got, want := r.rebind(fmt.Sprintf("SELECT %d, ?", i)), fmt.Sprintf("SELECT %d, $1", i); got != want {
					t.Errorf("rebind = %q, want %q", got, want)
				}
			}
		})
	}
	wg.Wait()
	if len(r.done) != maxRebound {
		t.Errorf("%d statements are remembered, want %d", len(r.done), maxRebound)
	}
}

func TestAuditCannotBeTruncated(t *testing.T) {
	d := openTest(t, pgtest.New(t))
	if err := d.Update(t.Context(), exec(`TRUNCATE audit`)); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("TRUNCATE audit = %v", err)
	}
}
