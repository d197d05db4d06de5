-- What was refused or discarded, by reason: for tenants to see, never billed. hour is unix seconds of its start, other
-- times here are unix milliseconds. last_text is the answer to the last of them.
CREATE TABLE usage_refusals (
    tenant_id TEXT COLLATE "C" NOT NULL,
    hour BIGINT NOT NULL CHECK (hour % 3600 = 0),
    signal TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    records BIGINT NOT NULL CHECK (records >= 0),
    requests BIGINT NOT NULL CHECK (requests >= 0),
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    last_text TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, hour, signal, key_id, reason)
);
CREATE INDEX usage_refusals_hour ON usage_refusals (hour);

-- One row per crossing: alerts_once holds that there is no second one on a day. day counts from 1970-01-01, UTC. noted is 1
-- once the event is in the audit.
CREATE TABLE alerts (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    owner_id TEXT COLLATE "C" NOT NULL,
    limit_id TEXT COLLATE "C" NOT NULL,
    signal TEXT COLLATE "C" NOT NULL,
    day BIGINT NOT NULL,
    threshold BIGINT NOT NULL,
    used BIGINT NOT NULL,
    max BIGINT NOT NULL,
    at BIGINT NOT NULL,
    noted BIGINT NOT NULL DEFAULT 0 CHECK (noted IN (0, 1))
);
CREATE UNIQUE INDEX alerts_once ON alerts (tenant_id, kind, owner, owner_id, limit_id, signal, day, threshold);
CREATE INDEX alerts_tenant ON alerts (tenant_id, id);
CREATE INDEX alerts_unnoted ON alerts (id) WHERE noted = 0;

-- tenant_id is '' for the operator's, which get the events of all tenants. kinds has commas between, '' is all. secret is
-- encrypted. failures counts attempts since the last success; nothing is sent before retry_at, nor by others than lease
-- before leased_until.
CREATE TABLE webhooks (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    kinds TEXT COLLATE "C" NOT NULL,
    secret BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    disabled_at BIGINT,
    failures BIGINT NOT NULL DEFAULT 0,
    retry_at BIGINT NOT NULL DEFAULT 0,
    lease TEXT COLLATE "C" NOT NULL DEFAULT '',
    leased_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX webhooks_tenant ON webhooks (tenant_id, id);

-- Made together with the alert, so that none is forgotten.
CREATE TABLE webhook_deliveries (
    webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id),
    alert_id TEXT COLLATE "C" NOT NULL REFERENCES alerts (id),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    created_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    last_at BIGINT,
    last_status BIGINT,
    last_error TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (webhook_id, alert_id)
);
CREATE INDEX webhook_deliveries_alert ON webhook_deliveries (alert_id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE state = 'pending';
