package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/metering"
)

// A backup is taken under load. Restored beside the log and the telemetry of the headgate that was killed later, its keys work, and
// the log replays: what is in the ledger already is billed no second time, and what the backup lacks is billed from the log.
func TestABackupUnderLoadRestoresAndBillsNothingTwice(t *testing.T) {
	d := newLoad(t, loadOptions{})
	d.acks(50)
	backup := filepath.Join(t.TempDir(), "state.backup")
	_, said, err := d.p.try("backup", "--out", backup)
	if err != nil || !strings.Contains(said, filepath.Join(d.dir, "key.pepper")) {
		t.Fatalf("backup: %v\n%s", err, said)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup file: %v, %v", info, err)
	}
	if _, said, err := d.p.try("backup", "--out", backup); err == nil || !strings.Contains(said, "never written over") {
		t.Errorf("backup over a file: %v %s", err, said)
	}
	if _, said, err := d.p.try("restore", "--in", backup); err == nil || !strings.Contains(said, "in use by another headgate") {
		t.Errorf("restore under a running headgate: %v %s", err, said)
	}
	d.acks(50)
	d.p.end(syscall.SIGKILL)
	if _, said, err := d.p.try("restore", "--in", backup); err == nil || !strings.Contains(said, "never replaced") {
		t.Errorf("restore over a database: %v %s", err, said)
	}

	restored := t.TempDir()
	old := d.dir
	d.p.dir = restored
	if _, said, err := d.p.try("restore", "--in", backup); err != nil || !strings.Contains(said, "missing: "+filepath.Join(restored, "key.pepper")) {
		t.Fatalf("restore: %v %s", err, said)
	}
	for _, name := range append([]string{walDir, "clickhouse"}, secretFiles...) {
		if err := os.Rename(filepath.Join(old, name), filepath.Join(restored, name)); err != nil {
			t.Fatal(err)
		}
	}
	d.dir = restored
	d.p = serveOn(t, d.dir, d.args...)
	d.acks(10) // with the keys of the backup
	d.finish() // every acked request is there once, and billed once
}

// What was in the ledger at rest is in the restored one, to the byte; damaged files are refused.
func TestARestoredLedgerIsWhatItWas(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	key := p.key("acme", "ingest", "usage")
	for range 5 {
		p.mustPost("/v1/logs", key, record("x"))
	}
	p.flushed()
	usage := func(p *process) (sum [3]int64) {
		for _, row := range unmarshal[metering.Usage](t, p.cli("usage", "--json", "--by", "day")).Rows {
			sum = [3]int64{sum[0] + row.BilledBytes, sum[1] + row.Records, sum[2] + row.Requests}
		}
		return sum
	}
	was := usage(p)
	backup := filepath.Join(t.TempDir(), "state.backup")
	p.cli("backup", "--out", backup)
	p.end(syscall.SIGTERM)

	q := &process{t: t, dir: t.TempDir()}
	raw, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string][]byte{"cut": raw[:len(raw)/2], "empty": nil, "text": []byte(strings.Repeat("not a database ", 1000))} {
		path := filepath.Join(t.TempDir(), what)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, said, err := q.try("restore", "--in", path); err == nil {
			t.Errorf("a %s file is restored: %s", what, said)
		}
	}
	q.cli("restore", "--in", backup)
	for _, name := range secretFiles {
		text, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(q.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	q = serveOn(t, q.dir)
	if got := usage(q); got != was || was[2] != 5 {
		t.Errorf("usage %v, was %v", got, was)
	}
	q.mustPost("/v1/logs", key, record("again"))
}

// A state database in PostgreSQL is not copied: the command that does it is named, without the password.
func TestABackupOfPostgresNamesThePasswordlessCommand(t *testing.T) {
	p := &process{t: t, dir: t.TempDir()}
	_, said, err := p.try("backup", "--out", "it's.dump", "--store", "postgres://me:secret@db:5432/state?sslmode=verify-full&password=secret&sslkey=me.key&sslpassword=secret")
	if want := `pg_dump --format=custom --file='it'\''s.dump' 'postgres://me@db:5432/state?sslkey=me.key&sslmode=verify-full'`; err == nil || !strings.Contains(said, want) || strings.Contains(said, "secret") {
		t.Errorf("backup of PostgreSQL: %v\n%s", err, said)
	}
}
