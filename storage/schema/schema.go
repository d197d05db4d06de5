// Package schema names the ClickHouse tables of headgate and carries the migrations that make them.
//
// A migration is a file NNNN_name.sql of statements that end in ";" at the end of a line, applied in order and
// forward-only; a statement may be run twice (IF NOT EXISTS), because a start can die between two of them.
package schema

import (
	"embed"
	"slices"
)

// The tables of records. Each has the columns TenantId, Partition, RetentionDays, RunId and ReceivedAt.
const (
	Logs                        = "otel_logs"
	Traces                      = "otel_traces"
	MetricsGauge                = "otel_metrics_gauge"
	MetricsSum                  = "otel_metrics_sum"
	MetricsHistogram            = "otel_metrics_histogram"
	MetricsExponentialHistogram = "otel_metrics_exponential_histogram"
	MetricsSummary              = "otel_metrics_summary"
	Profiles                    = "otel_profiles"
)

// MetricsSeries says what the SeriesIds of metric points stand for. Its rows are made from points: they are no records, so
// nobody counts, bills or asks for them, and they have no RunId. Otherwise it is a table of tenants' telemetry as the others.
const MetricsSeries = "otel_metrics_series"

// AppliedMigrations is the table of the migrations that were applied. It has nothing of tenants.
const AppliedMigrations = "headgate_migrations"

// Tables lists every table of records.
var Tables = []string{
	Logs, Traces,
	MetricsGauge, MetricsSum, MetricsHistogram, MetricsExponentialHistogram, MetricsSummary,
	Profiles,
}

// All lists every table that holds tenants' telemetry: Tables, and those made from them.
var All = append(slices.Clone(Tables), MetricsSeries)

// TimeColumn returns the column of table whose day is part of the partition key (Partition, toDate(TimeColumn)).
func TimeColumn(table string) string {
	switch table {
	case MetricsGauge, MetricsSum, MetricsHistogram, MetricsExponentialHistogram, MetricsSummary:
		return "TimeUnix"
	case MetricsSeries:
		return "Day"
	}
	return "Timestamp"
}

// Migrations holds the files NNNN_*.sql.
//
//go:embed *.sql
var Migrations embed.FS
