package query

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// Limits bound what queries may cost. They are the operator's, never the user's. A zero field means the default.
type Limits struct {
	MaxExecution   time.Duration // of one query, 30 s
	MaxMemoryBytes int64         // of one query in the engine, 2 GiB; grouping and sorting spill to disk at half of it
	MaxRowsToRead  int64         // 2,000,000,000
	MaxBytesToRead int64         // 200 GiB, uncompressed
	MaxGroups      int64         // of one summarize, 50,000,000
	MaxDiskBytes   int64         // that grouping and sorting spill, 16 GiB
	MaxThreads     int           // 0: the engine's own
	MaxJoinKeys    int64         // different values that the query in a join's parentheses may be joined on, 1,000,000
	MaxRange       time.Duration // from start to end, 400 days

	DefaultRows   int // rows of a result whose query has no limit, 1,000
	DefaultGroups int // the same after summarize, 10,000
	MaxRows       int // what a limit may ask for, 100,000

	Concurrent          int           // queries at a time, 16
	ConcurrentPerTenant int           // of one tenant, 6
	HeavyPerTenant      int           // the same while its queries take a quarter of a second or more and others ask: a quarter of the processors, 1 at least
	WaitingPerTenant    int           // of one tenant, that wait for a place, 20
	MaxWait             time.Duration // for a place, 2 s
}

func (l Limits) withDefaults() Limits {
	or(&l.MaxExecution, 30*time.Second)
	or(&l.MaxMemoryBytes, 2<<30)
	or(&l.MaxRowsToRead, 2_000_000_000)
	or(&l.MaxBytesToRead, 200<<30)
	or(&l.MaxJoinKeys, 1_000_000)
	or(&l.MaxGroups, 50_000_000)
	or(&l.MaxDiskBytes, 16<<30)
	or(&l.MaxRange, 400*24*time.Hour)
	or(&l.DefaultRows, 1000)
	or(&l.DefaultGroups, 10_000)
	or(&l.MaxRows, 100_000)
	or(&l.Concurrent, 16)
	or(&l.ConcurrentPerTenant, 6)
	or(&l.HeavyPerTenant, max(1, runtime.NumCPU()/4))
	or(&l.WaitingPerTenant, 20)
	or(&l.MaxWait, 2*time.Second)
	return l
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns all that is wrong with l.
func (l Limits) Validate() error {
	var errs []error
	for name, n := range map[string]int64{
		"max execution": int64(l.MaxExecution), "max memory": l.MaxMemoryBytes, "max rows to read": l.MaxRowsToRead,
		"max bytes to read": l.MaxBytesToRead, "max threads": int64(l.MaxThreads), "max range": int64(l.MaxRange), "max join keys": l.MaxJoinKeys,
		"default rows": int64(l.DefaultRows), "default groups": int64(l.DefaultGroups), "max rows": int64(l.MaxRows),
		"concurrent": int64(l.Concurrent), "concurrent per tenant": int64(l.ConcurrentPerTenant), "heavy per tenant": int64(l.HeavyPerTenant),
		"groups": l.MaxGroups, "max disk": l.MaxDiskBytes,
		"waiting per tenant": int64(l.WaitingPerTenant), "max wait": int64(l.MaxWait),
	} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("query limit %s %d: want zero for the default or more", name, n))
		}
	}
	return errors.Join(errs...)
}

// settings are what every statement runs under.
func (l Limits) settings() map[string]any {
	half := l.MaxMemoryBytes / 2
	s := map[string]any{
		// SECURITY: cached results and conditions would be shared between tenants.
		"use_query_cache":           0,
		"use_query_condition_cache": 0,
		// SECURITY: these make PREWHERE check the tenant before anything else is computed for a row. With both off a function
		// that throws sees the rows of other tenants.
		"enable_multiple_prewhere_read_steps": 1,
		"short_circuit_function_evaluation":   "enable",

		"max_execution_time":                 executionTime(l.MaxExecution),
		"timeout_overflow_mode":              "throw",
		"max_memory_usage":                   l.MaxMemoryBytes,
		"max_bytes_before_external_group_by": half,
		"max_bytes_before_external_sort":     half,
		"max_rows_to_read":                   l.MaxRowsToRead,
		"max_bytes_to_read":                  l.MaxBytesToRead,
		"read_overflow_mode":                 "throw",
		"max_rows_to_group_by":               l.MaxGroups,
		"group_by_overflow_mode":             "throw",

		"max_temporary_data_on_disk_size_for_query": l.MaxDiskBytes,
		// The right side of a join is held in memory, and the sides do not change places. ClickHouse's bound on rows counts
		// different keys; that on bytes counts all of it.
		"max_rows_in_join":           l.MaxJoinKeys,
		"max_bytes_in_join":          half,
		"join_overflow_mode":         "throw",
		"query_plan_join_swap_table": "false",
		"max_query_size":             2 * maxStatementBytes,
		"max_parser_depth":           10_000,

		"cancel_http_readonly_queries_on_client_close": 1,

		"session_timezone":                           "UTC",
		"date_time_output_format":                    "iso",
		"output_format_json_quote_64bit_integers":    0,
		"output_format_json_quote_denormals":         0,
		"output_format_json_escape_forward_slashes":  0,
		"output_format_json_validate_utf8":           1,
		"output_format_json_named_tuples_as_objects": 1,
	}
	if l.MaxThreads > 0 {
		s["max_threads"] = l.MaxThreads
	}
	return s
}

// executionTime is d as the setting max_execution_time has it.
func executionTime(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
