-- Records of each replica's log that ClickHouse has refused and that were set aside: billed, and not stored. unknown is 1 if
-- there are some whose number nobody knows.
CREATE TABLE usage_aside (
    log_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    hour INTEGER NOT NULL CHECK (hour % 3600 = 0),
    signal TEXT NOT NULL,
    records INTEGER NOT NULL,
    unknown INTEGER NOT NULL CHECK (unknown IN (0, 1)),
    PRIMARY KEY (log_id, tenant_id, hour, signal)
) STRICT, WITHOUT ROWID;
