-- Profiles, a signal whose protocol is in development: one row per sample, its stack resolved from the dictionary of its
-- request. The rows of a profile share what is said of it as a whole; SampleIndex counts them from 0, and its original
-- payload is on row 0 alone. A profile without samples is one row without values.

CREATE TABLE IF NOT EXISTS otel_profiles (
    TenantId LowCardinality(String) CODEC(ZSTD(1)),
    Partition LowCardinality(String) CODEC(ZSTD(1)),
    RetentionDays UInt16 CODEC(ZSTD(1)),
    RunId UInt64 CODEC(ZSTD(1)),
    ReceivedAt DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    RawTimestamp UInt64 CODEC(ZSTD(1)),
    TimestampSource Enum8('time' = 1, 'received' = 3) CODEC(ZSTD(1)),
    Duration UInt64 CODEC(ZSTD(1)),
    ProfileId String CODEC(ZSTD(1)),
    SampleType LowCardinality(String) CODEC(ZSTD(1)),
    SampleUnit LowCardinality(String) CODEC(ZSTD(1)),
    PeriodType LowCardinality(String) CODEC(ZSTD(1)),
    PeriodUnit LowCardinality(String) CODEC(ZSTD(1)),
    Period Int64 CODEC(ZSTD(1)),
    ProfileAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ProfileAttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    DroppedAttrCount UInt32 CODEC(ZSTD(1)),
    OriginalPayloadFormat LowCardinality(String) CODEC(ZSTD(1)),
    OriginalPayload String CODEC(ZSTD(1)),
    SampleIndex UInt32 CODEC(Delta(4), ZSTD(1)),
    `Values` Array(Int64) CODEC(ZSTD(1)),
    Timestamps Array(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    AttributesKinds LowCardinality(String) CODEC(ZSTD(1)),
    AttributeUnits Map(LowCardinality(String), LowCardinality(String)) CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    Frames Nested (
        Function LowCardinality(String),
        SystemName LowCardinality(String),
        File LowCardinality(String),
        StartLine Int64,
        Line Int64,
        Column Int64,
        Inlined Bool,
        Address UInt64,
        Attributes Map(LowCardinality(String), LowCardinality(String)),
        Mapping LowCardinality(String),
        MappingStart UInt64,
        MappingLimit UInt64,
        MappingOffset UInt64,
        MappingAttributes Map(LowCardinality(String), LowCardinality(String))
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
    ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY (Partition, toDate(Timestamp))
ORDER BY (TenantId, toStartOfFiveMinutes(Timestamp), ServiceName, ProfileId)
TTL ReceivedAt + toIntervalDay(RetentionDays)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000;
