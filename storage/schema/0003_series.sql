-- Series: what points have in common whose metric, kind, unit, resource, scope and attributes are the same. A point has the
-- SeriesId, 64 bits computed from those where it is decoded (docs/adr/0008-series.md); points of before this migration have 0.
-- otel_metrics_series says what the ids stand for, so that a reader of points need not group by maps. It has at least one
-- row per tenant, series and Day of the points' time, inserted before the first of its points; equal keys collapse in merges, so
-- read it with FINAL or GROUP BY. An id is a tenant's: the tenant is not in the hash.
--
-- A row must outlive the points that it describes: they came on the UTC day of ReceivedAt, hence one day more, and of equal
-- rows the one that stays longest is kept.

ALTER TABLE otel_metrics_gauge ADD COLUMN IF NOT EXISTS SeriesId UInt64 CODEC(ZSTD(1)) AFTER ReceivedAt;

ALTER TABLE otel_metrics_sum ADD COLUMN IF NOT EXISTS SeriesId UInt64 CODEC(ZSTD(1)) AFTER ReceivedAt;

ALTER TABLE otel_metrics_histogram ADD COLUMN IF NOT EXISTS SeriesId UInt64 CODEC(ZSTD(1)) AFTER ReceivedAt;

ALTER TABLE otel_metrics_exponential_histogram ADD COLUMN IF NOT EXISTS SeriesId UInt64 CODEC(ZSTD(1)) AFTER ReceivedAt;

ALTER TABLE otel_metrics_summary ADD COLUMN IF NOT EXISTS SeriesId UInt64 CODEC(ZSTD(1)) AFTER ReceivedAt;

CREATE TABLE IF NOT EXISTS otel_metrics_series (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    ExpiryDay UInt32 MATERIALIZED toRelativeDayNum(ReceivedAt) + RetentionDays CODEC(ZSTD(1)),
    Day Date CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    SeriesId UInt64 CODEC(ZSTD(1)),
    Kind LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    MetricDescription LowCardinality(String) CODEC(ZSTD(1)),
    AggregationTemporality Int32 CODEC(ZSTD(1)),
    IsMonotonic Bool CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(ExpiryDay)
PARTITION BY (Partition, Day)
ORDER BY (TenantId, MetricName, SeriesId)
TTL ReceivedAt + toIntervalDay(RetentionDays + 1)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1;
