package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) { Main(m) }

func TestEachTestHasItsOwnTables(t *testing.T) {
	a, b := New(t), New(t)
	for _, url := range []string{a, b} {
		Execute(t, url, `CREATE TABLE things (n BIGINT)`)
		Execute(t, url, `INSERT INTO things VALUES (1)`)
		if n := count(t, url); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
	}
}

func TestCommittedRowsOutliveKillsAndRestarts(t *testing.T) {
	s := Start(t)
	Execute(t, s.URL(), `CREATE TABLE things (n BIGINT)`)
	for i, again := range []func(){func() { s.Kill(); s.Start(t) }, func() { s.Restart(t) }} {
		Execute(t, s.URL(), `INSERT INTO things VALUES (1)`)
		again()
		if n := count(t, s.URL()); n != i+1 {
			t.Errorf("%d rows, want %d", n, i+1)
		}
	}
}

func TestServerSyncs(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var on string
	if err := conn.QueryRow(t.Context(), `SHOW fsync`).Scan(&on); err != nil || on != "on" {
		t.Errorf("fsync = %q, %v", on, err)
	}
}

func count(t *testing.T, url string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM things`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
