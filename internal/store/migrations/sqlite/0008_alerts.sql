-- What was refused or discarded, by reason: for tenants to see, never billed. hour is unix seconds of its start, other
-- times here are unix milliseconds. last_text is the answer to the last of them.
CREATE TABLE usage_refusals (
    tenant_id TEXT NOT NULL,
    hour INTEGER NOT NULL CHECK (hour % 3600 = 0),
    signal TEXT NOT NULL,
    key_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    records INTEGER NOT NULL CHECK (records >= 0),
    requests INTEGER NOT NULL CHECK (requests >= 0),
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    last_text TEXT NOT NULL,
    PRIMARY KEY (tenant_id, hour, signal, key_id, reason)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_refusals_hour ON usage_refusals (hour);

-- One row per crossing: alerts_once holds that there is no second one on a day. day counts from 1970-01-01, UTC. noted is 1
-- once the event is in the audit.
CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    limit_id TEXT NOT NULL,
    signal TEXT NOT NULL,
    day INTEGER NOT NULL,
    threshold INTEGER NOT NULL,
    used INTEGER NOT NULL,
    max INTEGER NOT NULL,
    at INTEGER NOT NULL,
    noted INTEGER NOT NULL DEFAULT 0 CHECK (noted IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX alerts_once ON alerts (tenant_id, kind, owner, owner_id, limit_id, signal, day, threshold);
CREATE INDEX alerts_tenant ON alerts (tenant_id, id);
CREATE INDEX alerts_unnoted ON alerts (id) WHERE noted = 0;

-- tenant_id is '' for the operator's, which get the events of all tenants. kinds has commas between, '' is all. secret is
-- encrypted. failures counts attempts since the last success; nothing is sent before retry_at, nor by others than lease
-- before leased_until.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    url TEXT NOT NULL,
    kinds TEXT NOT NULL,
    secret BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    disabled_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    retry_at INTEGER NOT NULL DEFAULT 0,
    lease TEXT NOT NULL DEFAULT '',
    leased_until INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX webhooks_tenant ON webhooks (tenant_id, id);

-- Made together with the alert, so that none is forgotten.
CREATE TABLE webhook_deliveries (
    webhook_id TEXT NOT NULL REFERENCES webhooks (id),
    alert_id TEXT NOT NULL REFERENCES alerts (id),
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    last_at INTEGER,
    last_status INTEGER,
    last_error TEXT NOT NULL,
    PRIMARY KEY (webhook_id, alert_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_deliveries_alert ON webhook_deliveries (alert_id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE state = 'pending';
