-- What docs/adr/0009-reading.md chose after measuring: a span is found by a unique value of one of its attributes as a log record
-- is, without reading all of them. Parts of before have no such index and are read whole, until a merge makes it.

ALTER TABLE otel_traces ADD INDEX IF NOT EXISTS idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1;
