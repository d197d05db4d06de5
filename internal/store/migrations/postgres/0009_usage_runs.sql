-- What each run brought to the ledger, by the hour of receipt (unix seconds of its start): written with its receipts in one
-- transaction, so that the sums of usage_hours can be checked against the runs. Old runs are added up in one row per hour and
-- signal whose log_id is ''; so is what was in usage_hours before this table. A run without receipts has hour 0 and
-- signal ''. applied_at is unix milliseconds.
CREATE TABLE usage_runs (
    run BIGINT NOT NULL,
    log_id TEXT COLLATE "C" NOT NULL,
    hour BIGINT NOT NULL CHECK (hour % 3600 = 0),
    signal TEXT COLLATE "C" NOT NULL,
    applied_at BIGINT NOT NULL,
    receipts BIGINT NOT NULL,
    records BIGINT NOT NULL,
    billed_bytes BIGINT NOT NULL,
    overage_bytes BIGINT NOT NULL,
    unbilled_bytes BIGINT NOT NULL,
    PRIMARY KEY (run, log_id, hour, signal)
);
CREATE INDEX usage_runs_hour ON usage_runs (hour, signal);
INSERT INTO usage_runs (run, log_id, hour, signal, applied_at, receipts, records, billed_bytes, overage_bytes, unbilled_bytes)
SELECT 0, '', hour, signal, 0, CAST(SUM(requests) AS BIGINT), CAST(SUM(records) AS BIGINT), CAST(SUM(billed_bytes) AS BIGINT),
    CAST(SUM(overage_bytes) AS BIGINT), CAST(SUM(unbilled_bytes) AS BIGINT)
FROM usage_hours GROUP BY hour, signal;

-- The last comparison of ledger, runs and ClickHouse over all tenants, as JSON; finished_at is unix milliseconds, through
-- the end of the hours that were compared in unix seconds.
CREATE TABLE usage_verified (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    finished_at BIGINT NOT NULL,
    through BIGINT NOT NULL,
    report TEXT NOT NULL
);
