-- A sealed row of usage_hours never changes: what comes later is a correction.

-- The revision of the ledger that the row last changed at.
ALTER TABLE usage_hours ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
CREATE INDEX usage_hours_rev ON usage_hours (rev);

-- rev numbers the transactions that write to usage_hours or usage_corrections, in the order of their commits. read_at (unix
-- milliseconds) is the latest moment as of which the ledger was read: no seal is dated before it afterwards.
CREATE TABLE usage_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    rev INTEGER NOT NULL,
    read_at INTEGER NOT NULL
) STRICT;
INSERT INTO usage_state (id, rev, read_at) VALUES (1, 0, 0);

-- Amounts, of either sign, that belong to the hour corrects and are invoiced with hour (unix seconds both), which was open
-- when they were recorded (unix milliseconds). source is late for receipts that came after the seal of their hour.
CREATE TABLE usage_corrections (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    hour INTEGER NOT NULL CHECK (hour % 3600 = 0),
    corrects INTEGER NOT NULL CHECK (corrects % 3600 = 0 AND corrects <= hour),
    signal TEXT NOT NULL,
    key_id TEXT NOT NULL,
    billed_bytes INTEGER NOT NULL,
    overage_bytes INTEGER NOT NULL,
    unbilled_bytes INTEGER NOT NULL,
    records INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    rejected_records INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('late', 'operator')),
    reason TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    rev INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_corrections_hour ON usage_corrections (hour, tenant_id);
CREATE INDEX usage_corrections_corrects ON usage_corrections (corrects, tenant_id);
CREATE INDEX usage_corrections_rev ON usage_corrections (rev);
CREATE TRIGGER usage_corrections_no_update BEFORE UPDATE ON usage_corrections
    BEGIN SELECT RAISE(ABORT, 'corrections are append-only'); END;
CREATE TRIGGER usage_corrections_no_delete BEFORE DELETE ON usage_corrections
    BEGIN SELECT RAISE(ABORT, 'corrections are append-only'); END;

-- Every move of the seal: through (unix seconds) held from sealed_at (unix milliseconds) until the next one. That of before
-- this table is dated as early as it can have been.
CREATE TABLE usage_seals (
    sealed_at INTEGER PRIMARY KEY,
    through INTEGER NOT NULL CHECK (through % 3600 = 0)
) STRICT;
INSERT INTO usage_seals (sealed_at, through) SELECT (through + 300) * 1000, through FROM usage_seal;

-- The names of tenants at each seal, where they differ from those at the one before: a bill is written again as it was.
CREATE TABLE usage_names (
    tenant_id TEXT NOT NULL,
    since INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant_id, since)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_names (tenant_id, since, name) SELECT t.id, s.sealed_at, t.name FROM tenants t, usage_seals s;

-- The processes that may hold receipts which are not in the ledger, by their log. Times are unix milliseconds. At seen_at
-- the oldest such receipt of the log was of oldest_pending; NULL: there was none.
CREATE TABLE replicas (
    log_id TEXT PRIMARY KEY,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    oldest_pending INTEGER,
    address TEXT NOT NULL
) STRICT;

-- The public halves (base64) of keys that manifests of exports were signed with.
CREATE TABLE usage_export_keys (
    key_id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
