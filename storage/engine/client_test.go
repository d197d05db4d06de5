package engine_test

import (
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
)

func TestDriverSaysHelloAndPings(t *testing.T) {
	conn := chtest.Start(t).Open(t, "")
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatalf("Ping: %v", err)
	}
	v, err := conn.ServerVersion()
	if err != nil {
		t.Fatalf("ServerVersion: %v", err)
	}
	if got, want := v.Version.String(), "26.7.2"; got != want {
		t.Errorf("server version = %s, want %s", got, want)
	}
	if got, want := v.Timezone.String(), "UTC"; got != want {
		t.Errorf("server time zone = %s, want %s", got, want)
	}
}

func TestBatchComesBackAsQueried(t *testing.T) {
	db := chtest.Database(t)
	conn := chtest.Start(t).Open(t, db)
	ctx := t.Context()
	if err := conn.Exec(ctx, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a"); err != nil {
		t.Fatalf("create: %v", err)
	}
	b, err := conn.PrepareBatch(ctx, "INSERT INTO t")
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	for i := range 1000 {
		if err := b.Append(uint64(i), "x"); err != nil {
			t.Fatalf("append: %v", err)
		}
	}
	if err := b.Send(); err != nil {
		t.Fatalf("send: %v", err)
	}
	var n, sum uint64
	if err := conn.QueryRow(ctx, "SELECT count(), sum(a) FROM t").Scan(&n, &sum); err != nil {
		t.Fatalf("query: %v", err)
	}
	if n != 1000 || sum != 999*1000/2 {
		t.Errorf("count, sum = %d, %d, want 1000, %d", n, sum, 999*1000/2)
	}
}
