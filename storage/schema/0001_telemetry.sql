-- The tables extend those of the OpenTelemetry Collector's ClickHouse exporter: its columns keep their names, so that
-- tools that read them go on working. headgate adds the stamp (TenantId, Partition, RetentionDays, RunId, ReceivedAt) and
-- what the exporter's tables lose: docs/fidelity.md says where each field of OTLP stands, and what Kinds and Raw columns
-- hold. Those beside a Nested have defaults of its length, so that the exporter's INSERT fits. The tenant is first in every
-- sorting key: a tenant's query reads its own granules only.
-- Retention counts from receipt, not from the record's own time: see docs/adr/0002-retention-from-receipt.md.

CREATE TABLE IF NOT EXISTS otel_logs (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimestamp UInt64 CODEC(ZSTD(1)),
    TimestampSource Enum8('time' = 1, 'observed' = 2, 'received' = 3) CODEC(ZSTD(1)),
    ObservedTimestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawObservedTimestamp UInt64 CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    TraceFlags UInt8,
    Flags UInt32 CODEC(ZSTD(1)),
    SeverityText LowCardinality(String) CODEC(ZSTD(1)),
    SeverityNumber UInt8,
    RawSeverityNumber Int32 CODEC(ZSTD(1)),
    Body String CODEC(ZSTD(1)),
    BodyKind LowCardinality(String) CODEC(ZSTD(1)),
    EventName LowCardinality(String) CODEC(ZSTD(1)),
    LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    LogAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    DroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    `__otel_materialized_k8s.pod.name` LowCardinality(String) MATERIALIZED ResourceAttributes['k8s.pod.name'] CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(Timestamp))
ORDER BY (TenantId, toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS otel_traces (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimestamp UInt64 CODEC(ZSTD(1)),
    EndTimestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawEndTimestamp UInt64 CODEC(ZSTD(1)),
    Duration UInt64 CODEC(T64, ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    TraceState String CODEC(ZSTD(1)),
    Flags UInt32 CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) CODEC(ZSTD(1)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    SpanAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    DroppedAttrCount UInt32 CODEC(ZSTD(1)),
    StatusCode LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage String CODEC(ZSTD(1)),
    Events Nested (
        Timestamp DateTime64(9, 'UTC'),
        Name LowCardinality(String),
        Attributes Map(LowCardinality(String), String),
        DroppedAttrCount UInt32
    ) CODEC(ZSTD(1)),
    `Events.RawTimestamp` Array(UInt64) DEFAULT arrayWithConstant(length(`Events.Timestamp`), 0) CODEC(ZSTD(1)),
    `Events.AttributesKinds` Array(LowCardinality(String)) DEFAULT arrayWithConstant(length(`Events.Timestamp`), '') CODEC(ZSTD(1)),
    DroppedEventsCount UInt32 CODEC(ZSTD(1)),
    Links Nested (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String),
        DroppedAttrCount UInt32,
        Flags UInt32
    ) CODEC(ZSTD(1)),
    `Links.AttributesKinds` Array(LowCardinality(String)) DEFAULT arrayWithConstant(length(`Links.TraceId`), '') CODEC(ZSTD(1)),
    DroppedLinksCount UInt32 CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(Timestamp))
ORDER BY (TenantId, toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS otel_metrics_gauge (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    TimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimeUnix UInt64 CODEC(ZSTD(1)),
    StartTimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawStartTimeUnix UInt64 CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    MetricDescription LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    MetricMetadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    MetricMetadataKinds LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    AttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    Flags UInt32 CODEC(ZSTD(1)),
    Value Nullable(Float64) CODEC(ZSTD(1)),
    ValueInt Nullable(Int64) CODEC(ZSTD(1)),
    Exemplars Nested (
        FilteredAttributes Map(LowCardinality(String), String),
        TimeUnix DateTime64(9, 'UTC'),
        Value Nullable(Float64),
        ValueInt Nullable(Int64),
        SpanId String,
        TraceId String
    ) CODEC(ZSTD(1)),
    `Exemplars.RawTimeUnix` Array(UInt64) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), 0) CODEC(ZSTD(1)),
    `Exemplars.FilteredAttributesKinds` Array(LowCardinality(String)) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), '') CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(TimeUnix))
ORDER BY (TenantId, MetricName, toStartOfHour(TimeUnix), ServiceName, TimeUnix)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS otel_metrics_sum (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    TimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimeUnix UInt64 CODEC(ZSTD(1)),
    StartTimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawStartTimeUnix UInt64 CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    MetricDescription LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    MetricMetadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    MetricMetadataKinds LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    AttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    Flags UInt32 CODEC(ZSTD(1)),
    Value Nullable(Float64) CODEC(ZSTD(1)),
    ValueInt Nullable(Int64) CODEC(ZSTD(1)),
    AggregationTemporality Int32 CODEC(ZSTD(1)),
    IsMonotonic Bool CODEC(ZSTD(1)),
    Exemplars Nested (
        FilteredAttributes Map(LowCardinality(String), String),
        TimeUnix DateTime64(9, 'UTC'),
        Value Nullable(Float64),
        ValueInt Nullable(Int64),
        SpanId String,
        TraceId String
    ) CODEC(ZSTD(1)),
    `Exemplars.RawTimeUnix` Array(UInt64) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), 0) CODEC(ZSTD(1)),
    `Exemplars.FilteredAttributesKinds` Array(LowCardinality(String)) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), '') CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(TimeUnix))
ORDER BY (TenantId, MetricName, toStartOfHour(TimeUnix), ServiceName, TimeUnix)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS otel_metrics_histogram (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    TimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimeUnix UInt64 CODEC(ZSTD(1)),
    StartTimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawStartTimeUnix UInt64 CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    MetricDescription LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    MetricMetadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    MetricMetadataKinds LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    AttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    Flags UInt32 CODEC(ZSTD(1)),
    Count UInt64 CODEC(ZSTD(1)),
    Sum Nullable(Float64) CODEC(ZSTD(1)),
    Min Nullable(Float64) CODEC(ZSTD(1)),
    Max Nullable(Float64) CODEC(ZSTD(1)),
    BucketCounts Array(UInt64) CODEC(ZSTD(1)),
    ExplicitBounds Array(Float64) CODEC(ZSTD(1)),
    AggregationTemporality Int32 CODEC(ZSTD(1)),
    Exemplars Nested (
        FilteredAttributes Map(LowCardinality(String), String),
        TimeUnix DateTime64(9, 'UTC'),
        Value Nullable(Float64),
        ValueInt Nullable(Int64),
        SpanId String,
        TraceId String
    ) CODEC(ZSTD(1)),
    `Exemplars.RawTimeUnix` Array(UInt64) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), 0) CODEC(ZSTD(1)),
    `Exemplars.FilteredAttributesKinds` Array(LowCardinality(String)) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), '') CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(TimeUnix))
ORDER BY (TenantId, MetricName, toStartOfHour(TimeUnix), ServiceName, TimeUnix)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS otel_metrics_exponential_histogram (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    TimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimeUnix UInt64 CODEC(ZSTD(1)),
    StartTimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawStartTimeUnix UInt64 CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    MetricDescription LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    MetricMetadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    MetricMetadataKinds LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    AttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    Flags UInt32 CODEC(ZSTD(1)),
    Count UInt64 CODEC(ZSTD(1)),
    Sum Nullable(Float64) CODEC(ZSTD(1)),
    Min Nullable(Float64) CODEC(ZSTD(1)),
    Max Nullable(Float64) CODEC(ZSTD(1)),
    Scale Int32 CODEC(ZSTD(1)),
    ZeroCount UInt64 CODEC(ZSTD(1)),
    ZeroThreshold Float64 CODEC(ZSTD(1)),
    PositiveOffset Int32 CODEC(ZSTD(1)),
    PositiveBucketCounts Array(UInt64) CODEC(ZSTD(1)),
    NegativeOffset Int32 CODEC(ZSTD(1)),
    NegativeBucketCounts Array(UInt64) CODEC(ZSTD(1)),
    AggregationTemporality Int32 CODEC(ZSTD(1)),
    Exemplars Nested (
        FilteredAttributes Map(LowCardinality(String), String),
        TimeUnix DateTime64(9, 'UTC'),
        Value Nullable(Float64),
        ValueInt Nullable(Int64),
        SpanId String,
        TraceId String
    ) CODEC(ZSTD(1)),
    `Exemplars.RawTimeUnix` Array(UInt64) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), 0) CODEC(ZSTD(1)),
    `Exemplars.FilteredAttributesKinds` Array(LowCardinality(String)) DEFAULT arrayWithConstant(length(`Exemplars.TimeUnix`), '') CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(TimeUnix))
ORDER BY (TenantId, MetricName, toStartOfHour(TimeUnix), ServiceName, TimeUnix)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS otel_metrics_summary (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    TimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimeUnix UInt64 CODEC(ZSTD(1)),
    StartTimeUnix DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawStartTimeUnix UInt64 CODEC(ZSTD(1)),
    MetricName LowCardinality(String) CODEC(ZSTD(1)),
    MetricDescription LowCardinality(String) CODEC(ZSTD(1)),
    MetricUnit LowCardinality(String) CODEC(ZSTD(1)),
    MetricMetadata Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    MetricMetadataKinds LowCardinality(String) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    AttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    Flags UInt32 CODEC(ZSTD(1)),
    Count UInt64 CODEC(ZSTD(1)),
    Sum Float64 CODEC(ZSTD(1)),
    ValueAtQuantiles Nested (
        Quantile Float64,
        Value Float64
    ) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    ResourceAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ResourceDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    ResourceEntityRefs LowCardinality(String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName LowCardinality(String) CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(TimeUnix))
ORDER BY (TenantId, MetricName, toStartOfHour(TimeUnix), ServiceName, TimeUnix)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;
