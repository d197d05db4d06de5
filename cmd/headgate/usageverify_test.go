package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/metering"
	"github.com/headgate-io/headgate/storage"
)

const fiveMetrics = `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
 {"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"%[1]d","asDouble":1},{"timeUnixNano":"%[1]d","asInt":"2"}]}},
 {"name":"s","sum":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"%[1]d","asDouble":1}]}},
 {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"%[1]d","count":"1","bucketCounts":["1"]}]}},
 {"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"%[1]d","count":"0"}]}},
 {"name":"q","summary":{"dataPoints":[{"timeUnixNano":"%[1]d","count":"1","sum":1}]}},
 {"name":"empty","gauge":{}}]}]}]}`

// Of whatever a tenant's policy makes of a request, records in the ledger are rows in ClickHouse.
func TestRecordsOfEveryPolicyAreRows(t *testing.T) {
	r := newVerifyRig(t)
	_, plain := r.tenant(auth.NewTenant{Name: "plain"})
	_, kept := r.tenant(auth.NewTenant{Name: "kept", KeepResends: true})
	tiny := int64(1)
	_, sample := r.tenant(auth.NewTenant{Name: "sample", DailyBytes: &tiny, AtLimit: tenant.Sample})
	_, drop := r.tenant(auth.NewTenant{Name: "drop", DailyBytes: &tiny, AtLimit: tenant.Drop})
	_, refuse := r.tenant(auth.NewTenant{Name: "refuse", DailyBytes: &tiny})
	_, bill := r.tenant(auth.NewTenant{Name: "bill", DailyBytes: &tiny, AtLimit: tenant.Bill})
	r.at(r.hour(1))
	now := r.now().UnixNano()
	spans := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"x","startTimeUnixNano":"%[1]d","endTimeUnixNano":"%[1]d"},{"name":"no ids"}]}]}]}`
	for range 3 {
		r.send(200, "/v1/logs", plain, logBody("again", r.now())) // stored once
		r.send(200, "/v1/logs", kept, logBody("again", r.now()))  // stored each time
		r.send(200, "/v1/logs", drop, logBody("dropped", r.now()))
		r.send(429, "/v1/logs", refuse, logBody("refused", r.now()))
	}
	r.send(200, "/v1/metrics", plain, fmt.Sprintf(fiveMetrics, now))
	r.send(200, "/v1/traces", plain, fmt.Sprintf(spans, now)) // the second is rejected
	r.send(200, "/v1development/profiles", plain, twoProfiles)
	r.send(200, "/v1/logs", sample, logBody("heartbeat", r.now()))
	r.send(429, "/v1/logs", sample, logBody("between", r.now()))
	r.send(200, "/v1/logs", bill, logBody("overage", r.now()))
	r.seal()

	rep := r.verify()
	wantLines(t, "drift", drifts(rep))
	wantLines(t, "skipped", skips(rep))
	// 1 log of plain, 3 of kept, 1 heartbeat, 1 overage; 6 points, 1 span, 2 profiles.
	if rep.Records != 6+6+1+2 || rep.Cells != 4+3 || rep.Runs == 0 || rep.Hours != 4 {
		t.Errorf("compared %+v", rep)
	}
}

// twoProfiles are two profiles of three samples together: five rows fewer than that would be records.
const twoProfiles = `{"dictionary":{"mappingTable":[{}],"locationTable":[{}],"functionTable":[{}],"linkTable":[{}],"stringTable":["","cpu","ns"],
 "attributeTable":[{}],"stackTable":[{}]},"resourceProfiles":[{"scopeProfiles":[{"profiles":[
 {"profileId":"000102030405060708090a0b0c0d0e0f","timeUnixNano":"1700000000000000000","sampleType":{"typeStrindex":1,"unitStrindex":2},"samples":[{"values":["1"]},{"values":["2"]}]},
 {"profileId":"100102030405060708090a0b0c0d0e0f","timeUnixNano":"1700000000000000000","sampleType":{"typeStrindex":1,"unitStrindex":2},"samples":[{"values":["3"]}]}]}]}]}`

func TestEachKindOfDriftIsFoundAndNamed(t *testing.T) {
	r := newVerifyRig(t)
	a, keyA := r.tenant(auth.NewTenant{Name: "acme"})
	_, keyG := r.tenant(auth.NewTenant{Name: "globex"})
	for _, hour := range []int{1, 2, 3, 4} {
		r.logsAt(hour, 3, keyA)
		r.logsAt(hour, 2, keyG)
	}
	r.at(r.hour(5))
	r.send(200, "/v1/metrics", keyG, fmt.Sprintf(fiveMetrics, r.now().UnixNano()))
	r.seal()
	wantLines(t, "drift at first", drifts(r.verify()))
	h := func(n int) string { return r.hour(n).Format("15") }
	of := func(name string, hour int) string {
		return fmt.Sprintf("TenantId = '%s' AND toStartOfHour(ReceivedAt) = toDateTime(%d, 'UTC')", name, r.hour(hour).Unix())
	}

	// A row is deleted, another is doubled, and one appears of a run that never was.
	r.remove("otel_logs", of(a.ID.String(), 1)+" AND Body = '0 of 3'")
	r.exec("INSERT INTO otel_logs SELECT * FROM otel_logs WHERE " + of(a.ID.String(), 2) + " AND Body = '1 of 3'")
	r.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, RunId, ReceivedAt, Timestamp, Body) VALUES ('" +
		a.ID.String() + "', 'shared-00', 30, 42, " + fmt.Sprint(r.hour(3).Unix()) + ", now(), 'foreign')")
	r.remove("otel_metrics_sum", "1")
	rep := r.verify()
	var cells, runs []string
	for _, d := range drifts(rep) {
		if strings.HasPrefix(d, "runs") {
			runs = append(runs, d)
		} else {
			cells = append(cells, d)
		}
	}
	wantLines(t, "rows", cells, "rows acme logs "+h(1)+" records 3/2", "rows acme logs "+h(2)+" records 3/4",
		"rows acme logs "+h(3)+" records 3/4", "rows globex metrics "+h(5)+" records 6/5")
	if len(runs) != 4 || !slices.Contains(runs, "runs run logs "+h(3)+" records 0/1") {
		t.Errorf("runs: %q", runs)
	}
	for _, d := range rep.Drift {
		switch {
		case d.Kind == metering.DriftRuns && d.Hour.Equal(r.hour(3)) && (d.Run != "42" || d.Note == ""):
			t.Errorf("the foreign run is %+v", d)
		case d.Kind == metering.DriftRows && d.Signal == metering.Logs && d.Tables["otel_logs"] != d.Have:
			t.Errorf("tables of %+v", d)
		case d.Kind == metering.DriftRows && d.Signal == metering.Metrics && (d.Tables["otel_metrics_sum"] != 0 || d.Tables["otel_metrics_gauge"] != 2 || len(d.Tables) != 5):
			t.Errorf("tables of %+v", d)
		}
	}
	r.wantEvents(a.ID.String(), 1)

	// A row that takes the place of another is found by its run alone, where every tenant has as many as it should.
	r.remove("otel_logs", of(a.ID.String(), 4)+" AND Body = '0 of 3'")
	r.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, RunId, ReceivedAt, Timestamp, Body) VALUES ('" +
		a.ID.String() + "', 'shared-00', 30, 43, " + fmt.Sprint(r.hour(4).Unix()) + ", now(), 'instead')")
	if got := drifts(r.verify()); len(got) != len(cells)+len(runs)+1 || !slices.Contains(got, "runs run logs "+h(4)+" records 0/1") {
		t.Errorf("a row in the place of another: %q", got)
	}
	rep = r.verify()

	// The report is kept, and the API answers with it.
	last, ok, err := r.verifier.Last(t.Context())
	if err != nil || !ok || !slices.Equal(drifts(last), drifts(rep)) {
		t.Errorf("Last = %v %v %v", drifts(last), ok, err)
	}
}

// wantEvents checks how many events of drift a tenant has.
func (r *verifyRig) wantEvents(id string, want int) {
	r.t.Helper()
	n := 0
	err := r.db.View(r.t.Context(), func(tx *store.Tx) error {
		return tx.QueryRowContext(r.t.Context(), `SELECT count(*) FROM alerts WHERE tenant_id = ? AND kind = 'ledger.drift'`, id).Scan(&n)
	})
	if err != nil || n != want {
		r.t.Errorf("tenant %s has %d events (%v), want %d", id, n, err, want)
	}
}

func TestLedgerChangedByHandIsFound(t *testing.T) {
	r := newVerifyRig(t)
	a, key := r.tenant(auth.NewTenant{Name: "acme"})
	r.logsAt(1, 3, key)
	r.logsAt(2, 2, key)
	r.seal()
	wantLines(t, "drift at first", drifts(r.verify()))
	r.ledgerExec(`UPDATE usage_hours SET billed_bytes = billed_bytes + 5 WHERE tenant_id = ? AND hour = ?`, a.ID.String(), r.hour(1).Unix())
	r.ledgerExec(`UPDATE usage_hours SET records = records - 1 WHERE tenant_id = ? AND hour = ?`, a.ID.String(), r.hour(2).Unix())
	h1, h2 := r.hour(1).Format("15"), r.hour(2).Format("15")
	rep := r.verify()
	got := drifts(rep)
	if len(got) != 3 || !strings.HasPrefix(got[0], "ledger  logs "+h1+" billed_bytes ") || got[1] != "ledger  logs "+h2+" records 2/1" ||
		got[2] != "rows acme logs "+h2+" records 1/2" {
		t.Errorf("drift: %q", got)
	}
	for _, d := range rep.Drift {
		if d.Field == "billed_bytes" && d.Have != d.Want+5 {
			t.Errorf("bytes: %+v", d)
		}
	}
	// A row that is lost whole.
	r.ledgerExec(`DELETE FROM usage_hours WHERE hour = ?`, r.hour(2).Unix())
	if got := r.verify().DriftRows; got[metering.DriftRows] != 1 || got[metering.DriftLedger] != 1+3 {
		t.Errorf("drift after a row is gone: %v", got)
	}
}

// What is gone for a reason is told, and is no drift.
func TestRowsThatNeedNotBeThereAreNoDrift(t *testing.T) {
	r := newVerifyRig(t)
	gone, keyGone := r.tenant(auth.NewTenant{Name: "gone"})
	brief, keyBrief := r.tenant(auth.NewTenant{Name: "brief", RetentionDays: 1})
	stays, keyStays := r.tenant(auth.NewTenant{Name: "stays"})
	r.logsAt(1, 3, keyGone)
	r.logsAt(1, 2, keyBrief)
	r.logsAt(1, 4, keyStays)
	// brief's plan grows afterwards: the rows from before keep theirs.
	r.at(r.hour(5))
	days := 30
	if _, err := r.directory.Tenants().Set(t.Context(), r.operator, "brief", auth.Patch{RetentionDays: &days}); err != nil {
		t.Fatal(err)
	}
	timetest.Eventually(t, "the new plan to hold", func() bool {
		r.logsAt(8, 1, keyBrief)
		return r.one("SELECT max(RetentionDays) FROM otel_logs") == 30
	})
	r.seal()
	before := r.verify()
	wantLines(t, "drift at first", drifts(before))

	for _, s := range []func() error{
		func() error { _, err := r.directory.Tenants().Disable(t.Context(), r.operator, "gone"); return err },
		func() error {
			_, err := r.directory.Tenants().BeginDelete(t.Context(), r.operator, "gone", "gone")
			return err
		},
		func() error { return storage.DeleteTenant(t.Context(), r.conn, gone.ID, nil) },
	} {
		if err := s(); err != nil {
			t.Fatal(err)
		}
	}
	r.remove("otel_logs", "TenantId = '"+brief.ID.String()+"' AND RetentionDays = 1")
	for _, state := range []string{"deleting", "deleted"} {
		rep := r.verify()
		wantLines(t, "drift while "+state, drifts(rep))
		var told []string
		for _, s := range skips(rep) {
			if !strings.HasPrefix(s, metering.SkipRun) {
				told = append(told, s)
			}
		}
		wantLines(t, "skipped while "+state, told, "tenant-deleted gone logs 1 3", "retention brief logs 1 2")
		if state == "deleting" {
			if err := r.directory.Tenants().FinishDelete(t.Context(), r.operator, gone.ID.String()); err != nil {
				t.Fatal(err)
			}
		}
	}

	// The same rows are missed where nothing explains it.
	r.remove("otel_logs", "TenantId = '"+brief.ID.String()+"'")
	r.remove("otel_logs", "TenantId = '"+stays.ID.String()+"'")
	rep := r.verify()
	if n := rep.DriftRows[metering.DriftRows]; n != 2 {
		t.Errorf("%d tenants' hours drift, want 2: %v", n, drifts(rep))
	}
	// Rows of a deleted tenant must not be there.
	r.exec("INSERT INTO otel_logs (TenantId, Partition, RetentionDays, RunId, ReceivedAt, Timestamp, Body) VALUES ('" +
		gone.ID.String() + "', 'shared-00', 30, 42, " + fmt.Sprint(r.hour(1).Unix()) + ", now(), 'survivor')")
	if got := drifts(r.verify()); !slices.Contains(got, "rows gone logs "+r.hour(1).Format("15")+" records 0/1") {
		t.Errorf("rows of a deleted tenant: %v", got)
	}
}

// one returns the number that a query has for an answer.
func (r *verifyRig) one(query string) int {
	r.t.Helper()
	var n int64
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := r.conn.QueryRow(ctx, "SELECT toInt64(("+query+"))").Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return int(n)
}

// A request that ClickHouse refuses is billed and not stored: known, until its replay is stored.
func TestRequestsSetAsideAreNoDrift(t *testing.T) {
	r := newVerifyRig(t)
	_, key := r.tenant(auth.NewTenant{Name: "acme"})
	r.logsAt(1, 2, key)
	r.exec("ALTER TABLE otel_logs ADD CONSTRAINT picky CHECK Body != 'refused'")
	r.at(r.hour(3))
	r.send(200, "/v1/logs", key, logBody("refused", r.now()))
	for i := range 3 {
		r.send(200, "/v1/logs", key, logBody(fmt.Sprint("good ", i), r.now()))
	}
	aside := func() []storage.Rejected {
		list, err := storage.ListRejected(filepath.Join(r.dir, walDir))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	timetest.Eventually(t, "the request to be set aside", func() bool {
		r.send(200, "/v1/logs", key, logBody(fmt.Sprint("more at ", time.Now().UnixNano()), r.now()))
		return len(aside()) == 1
	})
	r.seal()
	rep := r.verify()
	wantLines(t, "drift while it is set aside", drifts(rep))
	if got := skips(rep); !slices.Contains(got, "set-aside  logs 1 1") {
		t.Errorf("skipped: %q", got)
	}
	r.exec("ALTER TABLE otel_logs DROP CONSTRAINT picky")
	// It is replayed just when ClickHouse is about to count.
	counter := &interrupted{Counter: storage.Counter{Conn: r.conn, Log: r.log}}
	counter.first = sync.OnceFunc(func() {
		if err := storage.Replay(filepath.Join(r.dir, walDir), aside()[0].Name); err != nil {
			t.Fatal(err)
		}
		timetest.Eventually(t, "the replay", func() bool {
			_, waits := r.log.Oldest()
			return !waits && r.one("SELECT count() FROM otel_logs WHERE Body = 'refused'") == 1
		})
	})
	rep, err := metering.NewVerifier(r.ledger, counter, nil).UnsafeVerify(t.Context(), metering.VerifyFilter{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "drift after the replay", drifts(rep))
	for _, s := range skips(rep) {
		if !strings.HasPrefix(s, metering.SkipRun) {
			t.Errorf("skipped after the replay: %s", s)
		}
	}
}

// interrupted is a Counter that does something before it first counts.
type interrupted struct {
	storage.Counter
	first func()
}

func (c *interrupted) UnsafeByTenant(ctx context.Context, signal string, from, to int64, only tenant.ID, each func(int64, string, int64) error) error {
	c.first()
	return c.Counter.UnsafeByTenant(ctx, signal, from, to, only, each)
}

// What is set aside may be tried again while usage is verified: it is never seen twice, nor missed.
func TestReplaysWhileVerifyingAreNoDrift(t *testing.T) {
	r := newVerifyRig(t)
	_, key := r.tenant(auth.NewTenant{Name: "acme"})
	r.exec("ALTER TABLE otel_logs ADD CONSTRAINT picky CHECK NOT startsWith(Body, 'refused')")
	r.at(r.hour(2))
	const refused = 8
	for i := range refused {
		r.send(200, "/v1/logs", key, logBody(fmt.Sprint("refused ", i), r.now()))
	}
	aside := func() []storage.Rejected {
		list, err := storage.ListRejected(filepath.Join(r.dir, walDir))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	timetest.Eventually(t, "the requests to be set aside", func() bool {
		r.send(200, "/v1/logs", key, logBody(fmt.Sprint("more at ", time.Now().UnixNano()), r.now()))
		return len(aside()) == refused
	})
	r.seal()
	r.exec("ALTER TABLE otel_logs DROP CONSTRAINT picky")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var replaying sync.WaitGroup
	defer replaying.Wait()
	replaying.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for _, a := range aside() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := storage.Replay(filepath.Join(r.dir, walDir), a.Name); err != nil {
				t.Error(err)
			}
		}
	})
	verified := 0
	for done := false; !done; verified++ {
		done = len(aside()) == 0 && r.one("SELECT count() FROM otel_logs WHERE startsWith(Body, 'refused')") == refused
		rep, err := r.verifier.UnsafeVerify(ctx, metering.VerifyFilter{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantLines(t, "drift while requests are replayed", drifts(rep))
		if t.Failed() {
			t.Fatalf("after %d comparisons; skipped %q", verified, skips(rep))
		}
	}
	t.Logf("%d comparisons while %d requests were replayed", verified, refused)
}

// Of a run of metrics that was split, tables hold rows under the id of the whole: no drift, for its tenants agree.
func TestSplitRunsAreNoDrift(t *testing.T) {
	r := newVerifyRigOf(t, 400*time.Millisecond)
	_, key := r.tenant(auth.NewTenant{Name: "acme"})
	r.exec("ALTER TABLE otel_metrics_sum ADD CONSTRAINT picky CHECK MetricName != 'bad'")
	r.at(r.hour(2))
	sent := 0
	send := func(name string) {
		sent++
		r.send(200, "/v1/metrics", key, strings.Replace(fmt.Sprintf(fiveMetrics, r.now().UnixNano()+int64(sent)), `"name":"s"`, `"name":"`+name+`"`, 1))
	}
	for range 5 {
		send("good")
	}
	send("bad")
	timetest.Eventually(t, "the request to be set aside", func() bool {
		send("good")
		list, err := storage.ListRejected(filepath.Join(r.dir, walDir))
		return err == nil && len(list) == 1
	})
	r.seal()
	rep := r.verify()
	wantLines(t, "drift", drifts(rep))
	reasons := map[string]int64{}
	for _, s := range rep.Skipped {
		reasons[s.Reason] += s.Count
	}
	if reasons[metering.SkipAside] != 1 || reasons[metering.SkipRun] < 3 || len(reasons) != 2 {
		t.Errorf("skipped %v", reasons)
	}
	// The same rows without a run are found where they are too many.
	r.exec("INSERT INTO otel_metrics_gauge SELECT * FROM otel_metrics_gauge LIMIT 1")
	if got := r.verify().DriftRows; got[metering.DriftRows] != 1 || got[metering.DriftRuns] == 0 {
		t.Errorf("drift of a doubled row %v", got)
	}
}

// Receipts that come after their hour was sealed are corrections of it, and their rows are the hour's.
func TestLateReceiptsAreNoDrift(t *testing.T) {
	r := newVerifyRig(t)
	a, key := r.tenant(auth.NewTenant{Name: "acme"})
	r.logsAt(1, 2, key)
	r.seal()
	r.logsAt(1, 3, key) // another text: "of 3"
	timetest.Eventually(t, "the log to be empty", func() bool { _, waits := r.log.Oldest(); return !waits })
	r.at(timeNow())
	rep := r.verify()
	wantLines(t, "drift", drifts(rep))
	wantLines(t, "skipped", skips(rep))
	if rep.Records != 5 {
		t.Errorf("%d records were compared, want 5", rep.Records)
	}
	// What an operator corrects is billed, and was not received.
	u, err := r.ledger.UnsafeUsageOfAll(t.Context(), metering.Filter{ByKey: true})
	if err != nil {
		t.Fatal(err)
	}
	err = r.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := r.ledger.Correct(t.Context(), tx, metering.NewCorrection{ID: "1", Tenant: a.ID, Hour: r.hour(1), Signal: metering.Logs, Key: u.Rows[0].Key,
			BilledBytes: -5, Records: -1, Reason: "a mistake"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, "drift after a correction", drifts(r.verify()))
	r.remove("otel_logs", "Body = '2 of 3'")
	if got := r.verify().DriftRows; got[metering.DriftRows] != 1 || got[metering.DriftRuns] != 1 {
		t.Errorf("drift of a late row that is gone: %v", got)
	}
}

// The command prints the table and its exit status tells of drift; keys get neither.
func TestUsageVerifyCommand(t *testing.T) {
	r := newVerifyRig(t)
	a, key := r.tenant(auth.NewTenant{Name: "acme"})
	r.logsAt(1, 3, key)
	r.seal()
	mux := http.NewServeMux()
	r.api.Register(mux)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	cli := func(args ...string) (string, string, error) {
		var out, errText bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := run(ctx, append([]string{"usage", "verify", "--data-dir", r.dir, "--api-url", srv.URL}, args...), strings.NewReader(""), &out, &errText)
		return out.String(), errText.String(), err
	}
	if _, text, err := cli("--last"); err == nil || !strings.Contains(text, "not-verified") {
		t.Errorf("--last before any: %v %s", err, text)
	}
	out, text, err := cli()
	if err != nil || !strings.Contains(out, "3 records") || !strings.Contains(out, "no difference") || !strings.Contains(text, "rows logs before") {
		t.Errorf("clean: %v\n%s%s", err, out, text)
	}
	r.remove("otel_logs", "Body = '1 of 3'")
	for _, args := range [][]string{nil, {"--last"}, {"--tenant", "acme"}, {"--from", r.hour(1).Format(time.RFC3339), "--to", r.hour(2).Format(time.RFC3339)}} {
		out, text, err = cli(args...)
		if !errors.Is(err, errDrift) || !strings.Contains(out, "otel_logs") || !strings.Contains(out, "acme") || !strings.Contains(out, hourText(r.hour(1))) {
			t.Errorf("drift %v: %v\n%s%s", args, err, out, text)
		}
	}
	out, _, err = cli("--json")
	if rep := unmarshal[metering.Report](t, out); !errors.Is(err, errDrift) || len(rep.Drift) == 0 || rep.Drift[0].TenantID != a.ID.String() || rep.Drift[0].Want != 3 || rep.Drift[0].Have != 2 {
		t.Errorf("json: %v %s", err, out)
	}
	if _, _, err = cli("--from", r.hour(2).Format(time.RFC3339)); err != nil {
		t.Errorf("the other hours: %v", err)
	}
	for args, want := range map[string]string{"--from 2026-13-01": "invalid", "--tenant nobody": "not-found", "--from 2026-11-02 --to 2026-11-01": "invalid"} {
		if _, text, err := cli(strings.Fields(args)...); err == nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v %s", args, err, text)
		}
	}
	// SECURITY: the report names all tenants.
	for _, args := range [][]string{{"--token", key}, {"--token", key, "--last"}, {"--token", key, "--tenant", "acme"}} {
		if out, text, err := cli(args...); err == nil || !strings.Contains(text, "forbidden") || out != "" {
			t.Errorf("%v: %v %s %s", args, err, out, text)
		}
	}
}

// TestVerifyingManyTenants compares 200 tenants over a day: 100,000 records, or HEADGATE_TEST_VERIFY_RECORDS of them, and
// reports the time and the memory that it takes here and in ClickHouse.
func TestVerifyingManyTenants(t *testing.T) {
	const tenants, hours, runs = 200, 24, 50
	records := 100_000
	if s := os.Getenv("HEADGATE_TEST_VERIFY_RECORDS"); s != "" {
		if _, err := fmt.Sscan(s, &records); err != nil {
			t.Fatal(err)
		}
	}
	r := newVerifyRig(t)
	each := max(1, records/(tenants*hours))
	r.exec(fmt.Sprintf(`INSERT INTO otel_logs (TenantId, Partition, RetentionDays, RunId, ReceivedAt, Timestamp, Body)
		SELECT concat('tenant-', leftPad(toString(number %% %[1]d), 3, '0')) AS t, concat('shared-0', toString(number %% 8)), 30,
			intDiv(number, %[1]d) %% %[2]d * 1000 + number %% %[3]d + 1 AS run,
			%[4]d + intDiv(number, %[1]d) %% %[2]d * 3600 + number %% 3600, toDateTime(%[4]d), toString(number)
		FROM numbers(%[5]d)`, tenants, hours, runs, r.start.Unix(), tenants*hours*each))
	for h := range hours {
		for j := range runs {
			var receipts []metering.Receipt
			for n := j; n < tenants; n += runs {
				id, err := tenant.ParseID(fmt.Sprintf("tenant-%03d", n))
				if err != nil {
					t.Fatal(err)
				}
				receipts = append(receipts, metering.Receipt{Tenant: id, Key: "k", Signal: metering.Logs, ReceivedAt: r.hour(h),
					BilledBytes: 100, Records: int64(each)})
			}
			if ok, err := r.ledger.Apply(t.Context(), walDir, uint64(h*1000+j+1), receipts); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	}
	r.seal()
	r.remove("otel_logs", "TenantId = 'tenant-077' AND RunId = 10028 AND Body = (SELECT min(Body) FROM otel_logs WHERE TenantId = 'tenant-077' AND RunId = 10028)")

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	rep := r.verify()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	wantLines(t, "drift", drifts(rep), fmt.Sprintf("rows  logs %s records %d/%d", r.hour(10).Format("15"), each, each-1),
		fmt.Sprintf("runs run logs %s records %d/%d", r.hour(10).Format("15"), each*tenants/runs, each*tenants/runs-1))
	if rep.Records != int64(tenants*hours*each) || rep.Cells != tenants*hours || rep.Runs != hours*runs {
		t.Errorf("compared %d records in %d cells, %d runs", rep.Records, rep.Cells, rep.Runs)
	}
	t.Logf("%d records of %d tenants in %v; %.1f MiB allocated in all, %.1f MiB of heap at the end, %.1f before",
		rep.Records, tenants, took.Round(time.Millisecond), float64(after.TotalAlloc-before.TotalAlloc)/(1<<20),
		float64(after.HeapAlloc)/(1<<20), float64(before.HeapAlloc)/(1<<20))
}

// A server answers the command, and keeps what it found.
func TestUsageVerifyOnAServer(t *testing.T) {
	p := serveOn(t, t.TempDir())
	p.cli("tenant", "create", "acme")
	if out := p.cli("usage", "verify"); !strings.Contains(out, "no difference") {
		t.Errorf("verify printed\n%s", out)
	}
	if out := p.cli("usage", "verify", "--last", "--json"); unmarshal[metering.Report](t, out).FinishedAt.IsZero() {
		t.Errorf("the last is\n%s", out)
	}
	if p.metric(`headgate_metering_drift_rows{kind="rows"}`) != 0 || p.metric("headgate_metering_verified_timestamp_seconds") == 0 {
		t.Error("the metrics do not tell of the comparison")
	}
}
