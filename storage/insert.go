package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/headgate-io/headgate/storage/schema"
)

// refusedError says that ClickHouse will not take the rows, now or later, because of what they are; none of a table's rows of a
// run is there.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// passing are ClickHouse's codes for conditions that pass: nothing is wrong with the rows.
var passing = []int32{
	3,   // UNEXPECTED_END_OF_FILE: the body was cut off
	60,  // UNKNOWN_TABLE
	81,  // UNKNOWN_DATABASE
	159, // TIMEOUT_EXCEEDED
	164, // READONLY
	202, // TOO_MANY_SIMULTANEOUS_QUERIES
	203, // NO_FREE_CONNECTION
	209, // SOCKET_TIMEOUT
	210, // NETWORK_ERROR
	225, // NO_ZOOKEEPER
	236, // ABORTED
	241, // MEMORY_LIMIT_EXCEEDED
	242, // TABLE_IS_READ_ONLY
	243, // NOT_ENOUGH_SPACE
	252, // TOO_MANY_PARTS
	285, // TOO_FEW_LIVE_REPLICAS
	286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	319, // UNKNOWN_STATUS_OF_INSERT
	394, // QUERY_WAS_CANCELLED
	439, // CANNOT_SCHEDULE_TASK
	497, // ACCESS_DENIED
	516, // AUTHENTICATION_FAILED
	598, // RAFT_ERROR
	723, // DATABASE_REPLICATION_FAILED
	999, // KEEPER_EXCEPTION
}

// isRefusal reports whether ClickHouse answered that it does not take what was sent.
func isRefusal(err error) bool {
	var answer *clickhouse.Exception
	return errors.As(err, &answer) && answer.Code > 0 && !slices.Contains(passing, answer.Code)
}

// maxTimeout is how far the timeout of a run's statements grows while they fail.
const maxTimeout = 10 * time.Minute

// insert takes the rows of r for one table to ClickHouse, once, however often it has to try. It returns nil when every row
// is there, a *refusedError, or errStopped.
//
// While nothing was sent, one INSERT does it. Afterwards nobody but ClickHouse knows how far it came, so it is asked which of
// the run's partitions it has (a run makes one part in each, and a part is there whole or not at all), and what is missing
// is sent. The deduplication token keeps an INSERT that was thought lost from being carried out after all beside its
// repetition; it is not the proof, because a kill between its record and the part's commit makes the repetition be taken for
// a duplicate.
func (d *delivery) insert(r *run, t *tablePlan) error {
	l := d.lane.log
	sent, repeated := r.sent, false
	missing := t.partitions
	d.timeout = l.opt.Timeout
	for backoff := l.opt.Backoff; ; backoff = min(2*backoff, maxBackoff) {
		err := d.attempt(r, t, &missing, &sent, &repeated)
		if err == nil {
			d.lane.taken[t.name]++
			return nil
		}
		if isRefusal(err) && len(missing) == len(t.partitions) && d.absent(r, t) {
			return &refusedError{err}
		}
		l.log.Warn("insert failed", "table", t.name, "rows", t.rows, "requests", len(t.entries), "run_id", r.id, "err", err)
		// A run that takes longer than the timeout would take it for ever.
		d.timeout = max(d.timeout, min(2*d.timeout, maxTimeout))
		if !d.pause(backoff) {
			r.sent = true
			return errStopped
		}
	}
}

// absent reports whether ClickHouse says that it has no row of r in t.
func (d *delivery) absent(r *run, t *tablePlan) bool {
	missing, err := d.missing(r, t)
	return err == nil && len(missing) == len(t.partitions)
}

// attempt tries once to have ClickHouse take what is missing.
func (d *delivery) attempt(r *run, t *tablePlan, missing *[]partition, sent, repeated *bool) (err error) {
	if *sent {
		if *missing, err = d.missing(r, t); err != nil {
			return err
		}
		if len(*missing) < len(t.partitions) {
			d.lane.log.metrics.found.Add(float64(len(t.partitions) - len(*missing)))
		}
		if len(*missing) == 0 {
			return nil
		}
	}
	known := !*sent
	*sent = true
	if len(*missing) == len(t.partitions) && !*repeated {
		if err := d.insertAll(r, t); err != nil || known {
			return err
		}
		*repeated = true // its token is recorded, so that an earlier one that is still on its way is taken for a duplicate
	} else if err := d.insertMissing(r, t, *missing); err != nil {
		return err
	}
	// What was sent for the second time may have been taken for a duplicate of the first.
	if *missing, err = d.missing(r, t); err == nil && len(*missing) > 0 {
		err = fmt.Errorf("%d of %d partitions are missing after a repeated insert", len(*missing), len(t.partitions))
	}
	return err
}

func token(r *run) string { return "headgate-" + strconv.FormatUint(r.id, 10) }

// onePart makes an INSERT one part per partition.
func onePart(token string) clickhouse.Settings {
	return clickhouse.Settings{
		"async_insert": 0, "insert_deduplication_token": token, "max_partitions_per_insert_block": 2 * MaxPartitions,
		"min_insert_block_size_rows": 16 << 20, "min_insert_block_size_bytes": 1 << 30, "max_insert_threads": 1,
		"input_format_skip_unknown_fields": 0, // a column that the table lacks must not be lost in silence
	}
}

// insertAll sends all rows of r for t.
func (d *delivery) insertAll(r *run, t *tablePlan) error {
	start := time.Now()
	err := d.insertInto(t.name, token(r), r, t)
	d.lane.log.metrics.inserted(t.name, t.rows, time.Since(start), err)
	return err
}

func (d *delivery) insertInto(target, token string, r *run, t *tablePlan) error {
	settings := onePart(token)
	settings["decompress"] = 1
	ctx, cancel := d.statement(settings, nil)
	defer cancel()
	b := &body{log: d.lane.log, run: r.id, table: t.name, left: t.entries}
	return d.conn.InsertFormat(ctx, "Native", "INSERT INTO "+target, b)
}

func (d *delivery) statement(s clickhouse.Settings, p clickhouse.Parameters) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(d.ctx, d.timeout)
	return clickhouse.Context(ctx, clickhouse.WithSettings(s), clickhouse.WithParameters(p)), cancel
}

// insertMissing sends the rows of r for t that lie in the partitions missing, by way of a table of its own, which ClickHouse
// can filter. This is rare: the first INSERT was cut off between two partitions' commits.
func (d *delivery) insertMissing(r *run, t *tablePlan, missing []partition) error {
	l := d.lane.log
	stage := stagePrefix + strconv.FormatUint(r.id, 10) + "_" + t.name
	exec := func(s clickhouse.Settings, p clickhouse.Parameters, sql string) error {
		ctx, cancel := d.statement(s, p)
		defer cancel()
		return d.conn.Exec(ctx, sql)
	}
	if err := exec(nil, nil, "DROP TABLE IF EXISTS "+stage); err != nil {
		return fmt.Errorf("drop stage: %w", err)
	}
	if err := exec(nil, nil, "CREATE TABLE "+stage+" AS "+t.name+" ENGINE = MergeTree ORDER BY tuple()"); err != nil {
		return fmt.Errorf("create stage: %w", err)
	}
	defer func() {
		if err := exec(nil, nil, "DROP TABLE IF EXISTS "+stage); err != nil {
			l.log.Warn("a stage was left behind; the next start removes it", "table", stage, "err", err)
		}
	}()
	if err := d.insertInto(stage, token(r)+"-stage", r, t); err != nil {
		return fmt.Errorf("fill stage: %w", err)
	}
	settings := onePart(token(r) + "-missing")
	settings["insert_deduplicate"], settings["max_threads"] = 0, 1
	params := clickhouse.Parameters{"missing": partitionList(missing)}
	if err := exec(settings, params, "INSERT INTO "+t.name+" SELECT * FROM "+stage+" WHERE "+inPartitions(t.name, "missing")); err != nil {
		return fmt.Errorf("insert missing partitions: %w", err)
	}
	l.metrics.repaired.Add(float64(len(missing)))
	return nil
}

// inPartitions is the condition that a row of table lies in one of the partitions of the parameter named param.
func inPartitions(table, param string) string {
	return "(Partition, toDate(" + schema.TimeColumn(table) + ")) IN {" + param + ":Array(Tuple(String, Date))}"
}

// partitionList is the text of such a parameter.
func partitionList(ps []partition) string {
	b := []byte{'['}
	for i, p := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		// SECURITY: a placement is a tenant id or a name of headgate's own, none of which has a quote or a backslash.
		b = append(append(append(b, "('"...), p.placement...), "','"...)
		b = time.Unix(int64(p.day)*86400, 0).UTC().AppendFormat(b, time.DateOnly)
		b = append(b, "')"...)
	}
	return string(append(b, ']'))
}

const stagePrefix = "headgate_missing_"

// missing asks ClickHouse which of the partitions that r has rows for in t lack them, once no INSERT of r is under way.
func (d *delivery) missing(r *run, t *tablePlan) ([]partition, error) {
	if err := d.quiet(r); err != nil {
		return nil, err
	}
	params := clickhouse.Parameters{"run": strconv.FormatUint(r.id, 10), "partitions": partitionList(t.partitions)}
	ctx, cancel := d.statement(nil, params)
	defer cancel()
	rows, err := d.conn.Query(ctx, "SELECT DISTINCT Partition, toUInt16(toDate("+schema.TimeColumn(t.name)+")) FROM "+t.name+
		" WHERE "+inPartitions(t.name, "partitions")+" AND RunId = {run:UInt64}")
	if err != nil {
		return nil, fmt.Errorf("ask for the partitions of run %d: %w", r.id, err)
	}
	defer rows.Close()
	missing := slices.Clone(t.partitions)
	for rows.Next() {
		var p partition
		if err := rows.Scan(&p.placement, &p.day); err != nil {
			return nil, fmt.Errorf("ask for the partitions of run %d: %w", r.id, err)
		}
		missing = slices.DeleteFunc(missing, func(m partition) bool { return m == p })
	}
	return missing, rows.Err()
}

// quiet returns nil when no INSERT of r is being carried out: one whose sender gave up may be.
func (d *delivery) quiet(r *run) error {
	ctx, cancel := d.statement(nil, clickhouse.Parameters{"token": token(r)})
	defer cancel()
	var n uint64
	err := d.conn.QueryRow(ctx, "SELECT count() FROM system.processes WHERE startsWith(Settings['insert_deduplication_token'], {token:String})").Scan(&n)
	if err != nil {
		return fmt.Errorf("ask for running inserts: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("an earlier insert of run %d is still being carried out", r.id)
	}
	return nil
}

// dropStages removes what a repair left behind that did not come to its end.
func dropStages(ctx context.Context, conn driver.Conn) error {
	rows, err := conn.Query(ctx, "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix:String})",
		clickhouse.Named("prefix", stagePrefix))
	if err != nil {
		return err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, name := range names {
		if err := conn.Exec(ctx, "DROP TABLE IF EXISTS "+name); err != nil {
			return err
		}
	}
	return nil
}
