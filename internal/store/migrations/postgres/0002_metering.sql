-- One row per tenant, key, signal and hour (unix seconds of the hour's start, UTC). There is no foreign key on purpose: the
-- receipts of many tenants share a transaction, and one tenant's trouble must not fail its neighbours' receipts.
-- overage_bytes is part of billed_bytes; unbilled_bytes is not.
CREATE TABLE usage_hours (
    tenant_id TEXT COLLATE "C" NOT NULL,
    hour BIGINT NOT NULL CHECK (hour % 3600 = 0),
    signal TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    billed_bytes BIGINT NOT NULL CHECK (billed_bytes >= 0),
    overage_bytes BIGINT NOT NULL CHECK (overage_bytes BETWEEN 0 AND billed_bytes),
    unbilled_bytes BIGINT NOT NULL CHECK (unbilled_bytes >= 0),
    records BIGINT NOT NULL CHECK (records >= 0),
    requests BIGINT NOT NULL CHECK (requests >= 0),
    rejected_records BIGINT NOT NULL CHECK (rejected_records >= 0),
    refused_bytes BIGINT NOT NULL CHECK (refused_bytes >= 0),
    refused_requests BIGINT NOT NULL CHECK (refused_requests >= 0),
    PRIMARY KEY (tenant_id, hour, signal, key_id)
);
CREATE INDEX usage_hours_hour ON usage_hours (hour);
