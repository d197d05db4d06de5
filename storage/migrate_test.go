package storage

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestMigrateMakesTenantPartitionedTables(t *testing.T) {
	conn := migrated(t, chtest.Start(t))
	for _, table := range schema.All {
		ddl := scan[string](t, conn, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = '"+table+"'")
		for _, want := range []string{"PARTITION BY (Partition, ", "ORDER BY (TenantId, ", "TTL ReceivedAt + toIntervalDay(RetentionDays"} {
			if !strings.Contains(ddl, want) {
				t.Errorf("%s has no %q:\n%s", table, want, ddl)
			}
		}
	}
	if err := Migrate(t.Context(), conn, schema.Migrations, quiet); err != nil {
		t.Errorf("Migrate again: %v", err)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM headgate_migrations"); n != 4 {
		t.Errorf("%d migrations recorded, want 4", n)
	}
}

// Processes that start together bring one database up to date together.
func TestMigrateAtOnce(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	var starts sync.WaitGroup
	for range 4 {
		starts.Go(func() {
			if err := Migrate(t.Context(), conn, schema.Migrations, quiet); err != nil {
				t.Errorf("Migrate beside others: %v", err)
			}
		})
	}
	starts.Wait()
	if n := scan[uint64](t, conn, "SELECT uniqExact(version) FROM headgate_migrations"); n != 4 {
		t.Errorf("%d versions recorded, want 4", n)
	}
	for _, table := range schema.All {
		scan[uint64](t, conn, "SELECT count() FROM "+table)
	}
}

func files(texts ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i, text := range texts {
		out["000"+string(rune('1'+i))+"_step.sql"] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

const stepOne = `-- a comment; with a semicolon
CREATE TABLE IF NOT EXISTS a (x UInt8, -- a column
  y String DEFAULT ';') ENGINE = Memory;
CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = Memory;
`

func TestMigrationThatDiedHalfWayIsAppliedAgain(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	broken := strings.Replace(stepOne, "ENGINE = Memory;\n", "ENGINE = Memory;\nCREATE TABLE b (x NoSuchType) ENGINE = Memory;\n", 1)
	if err := Migrate(t.Context(), conn, files(broken), quiet); err == nil || !strings.Contains(err.Error(), "migration 0001_step, statement 2") {
		t.Fatalf("Migrate = %v, want the failing statement named", err)
	}
	if err := Migrate(t.Context(), conn, files(stepOne, "CREATE TABLE IF NOT EXISTS c (x UInt8) ENGINE = Memory;"), quiet); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	for _, table := range []string{"a", "b", "c"} {
		scan[uint64](t, conn, "SELECT count() FROM "+table)
	}
}

func TestMigrateRefusesForeignSchemas(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	if err := Migrate(t.Context(), conn, files(stepOne, stepOne), quiet); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	if err := Migrate(t.Context(), conn, files(stepOne), quiet); !errors.Is(err, ErrSchema) {
		t.Errorf("Migrate of a newer database = %v, want ErrSchema", err)
	}
	if err := Migrate(t.Context(), conn, files(stepOne, stepOne+"\n-- changed"), quiet); !errors.Is(err, ErrSchema) {
		t.Errorf("Migrate of a changed file = %v, want ErrSchema", err)
	}
}

// Who may not write is told what there is: nothing yet, less than it reads, what it reads, or more.
func TestSchemaIsCheckedByReaders(t *testing.T) {
	db := chtest.Database(t)
	e := chtest.Start(t)
	writer, reader := e.Open(t, db), e.OpenReader(t, db)
	one, two := files("CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = Memory;"), files("CREATE TABLE IF NOT EXISTS a (n UInt8) ENGINE = Memory;", "SELECT 1;")
	check := func(what string, of fstest.MapFS, want error) {
		t.Helper()
		if err := CheckSchema(t.Context(), reader, of); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("nothing", one, ErrNotYet)
	if err := CheckSchema(t.Context(), e.OpenReader(t, "nowhere"), one); !errors.Is(err, ErrNotYet) {
		t.Errorf("no database: %v", err)
	}
	if err := Migrate(t.Context(), writer, one, quiet); err != nil {
		t.Fatal(err)
	}
	check("as it is", one, nil)
	check("older", two, ErrNotYet)
	if err := Migrate(t.Context(), writer, two, quiet); err != nil {
		t.Fatal(err)
	}
	check("brought up to date", two, nil)
	check("newer", one, ErrSchema)
	check("of another build", files("SELECT 1;", "SELECT 1;"), ErrSchema)
}

func TestMigrationFilesMustBeNumberedWithoutGap(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"gap":  {"0001_a.sql": {}, "0003_b.sql": {}},
		"name": {"one.sql": {}},
	} {
		if _, err := readMigrations(fsys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParseURL(t *testing.T) {
	good, err := ParseURL("http://user:s%40cret@ch:8123/telemetry")
	if err != nil || good.Addr[0] != "ch:8123" || good.Auth.Database != "telemetry" || good.Auth.Password != "s@cret" {
		t.Errorf("ParseURL = %+v, %v", good, err)
	}
	if def, err := ParseURL("https://ch:8443"); err != nil || def.Auth.Database != DefaultDatabase || def.TLS == nil {
		t.Errorf("ParseURL without database = %+v, %v", def, err)
	}
	for _, bad := range []string{"tcp://u:hunter2@ch:9000", "http://u:hunter2@", "http://u:hunter2@ch/a-b;drop", "://hunter2", "ch:8123"} {
		if _, err := ParseURL(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseURL(%q) = %v, want an error without the password", bad, err)
		}
	}
}
