-- A sealed row of usage_hours never changes: what comes later is a correction.

-- The revision of the ledger that the row last changed at.
ALTER TABLE usage_hours ADD COLUMN rev BIGINT NOT NULL DEFAULT 0;
CREATE INDEX usage_hours_rev ON usage_hours (rev);

-- rev numbers the transactions that write to usage_hours or usage_corrections, in the order of their commits. read_at (unix
-- milliseconds) is the latest moment as of which the ledger was read: no seal is dated before it afterwards.
CREATE TABLE usage_state (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    rev BIGINT NOT NULL,
    read_at BIGINT NOT NULL
);
INSERT INTO usage_state (id, rev, read_at) VALUES (1, 0, 0);

-- Amounts, of either sign, that belong to the hour corrects and are invoiced with hour (unix seconds both), which was open
-- when they were recorded (unix milliseconds). source is late for receipts that came after the seal of their hour.
CREATE TABLE usage_corrections (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    hour BIGINT NOT NULL CHECK (hour % 3600 = 0),
    corrects BIGINT NOT NULL CHECK (corrects % 3600 = 0 AND corrects <= hour),
    signal TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    billed_bytes BIGINT NOT NULL,
    overage_bytes BIGINT NOT NULL,
    unbilled_bytes BIGINT NOT NULL,
    records BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    rejected_records BIGINT NOT NULL,
    source TEXT COLLATE "C" NOT NULL CHECK (source IN ('late', 'operator')),
    reason TEXT COLLATE "C" NOT NULL,
    recorded_at BIGINT NOT NULL,
    rev BIGINT NOT NULL
);
CREATE INDEX usage_corrections_hour ON usage_corrections (hour, tenant_id);
CREATE INDEX usage_corrections_corrects ON usage_corrections (corrects, tenant_id);
CREATE INDEX usage_corrections_rev ON usage_corrections (rev);
CREATE FUNCTION usage_corrections_append_only() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''corrections are append-only''; END';
CREATE TRIGGER usage_corrections_no_update BEFORE UPDATE ON usage_corrections
    EXECUTE FUNCTION usage_corrections_append_only();
CREATE TRIGGER usage_corrections_no_delete BEFORE DELETE ON usage_corrections
    EXECUTE FUNCTION usage_corrections_append_only();
CREATE TRIGGER usage_corrections_no_truncate BEFORE TRUNCATE ON usage_corrections
    EXECUTE FUNCTION usage_corrections_append_only();

-- Every move of the seal: through (unix seconds) held from sealed_at (unix milliseconds) until the next one. That of before
-- this table is dated as early as it can have been.
CREATE TABLE usage_seals (
    sealed_at BIGINT PRIMARY KEY,
    through BIGINT NOT NULL CHECK (through % 3600 = 0)
);
INSERT INTO usage_seals (sealed_at, through) SELECT (through + 300) * 1000, through FROM usage_seal;

-- The names of tenants at each seal, where they differ from those at the one before: a bill is written again as it was.
CREATE TABLE usage_names (
    tenant_id TEXT COLLATE "C" NOT NULL,
    since BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, since)
);
INSERT INTO usage_names (tenant_id, since, name) SELECT t.id, s.sealed_at, t.name FROM tenants t, usage_seals s;

-- The processes that may hold receipts which are not in the ledger, by their log. Times are unix milliseconds. At seen_at
-- the oldest such receipt of the log was of oldest_pending; NULL: there was none.
CREATE TABLE replicas (
    log_id TEXT COLLATE "C" PRIMARY KEY,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    oldest_pending BIGINT,
    address TEXT COLLATE "C" NOT NULL
);

-- The public halves (base64) of keys that manifests of exports were signed with.
CREATE TABLE usage_export_keys (
    key_id TEXT COLLATE "C" PRIMARY KEY,
    public_key TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);
