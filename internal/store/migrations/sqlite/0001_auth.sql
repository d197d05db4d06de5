-- Times are unix milliseconds. rev is the value of changes.n that a row was last changed at: whoever has seen n reads
-- only rows of a greater rev to catch up.

CREATE TABLE changes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    n INTEGER NOT NULL
) STRICT;
INSERT INTO changes (id, n) VALUES (1, 0);

-- A tenant's row is never deleted: the ledger and the audit name it for ever. deleted_at is set once the deletion is
-- finished; only then is the name free again.
CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    parent_id TEXT REFERENCES tenants (id),
    status TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'deleting')),
    daily_bytes INTEGER CHECK (daily_bytes >= 0),
    retention_days INTEGER NOT NULL CHECK (retention_days BETWEEN 1 AND 3650),
    at_limit TEXT NOT NULL CHECK (at_limit IN ('refuse', 'drop', 'bill', 'sample')),
    placement TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    deleted_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX tenants_name ON tenants (name) WHERE deleted_at IS NULL;
CREATE INDEX tenants_parent ON tenants (parent_id);
CREATE INDEX tenants_rev ON tenants (rev);

-- mac is HMAC-SHA256 under the pepper; the key's text is nowhere.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    mac BLOB NOT NULL,
    scopes TEXT NOT NULL,
    daily_bytes INTEGER CHECK (daily_bytes >= 0),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);
CREATE INDEX api_keys_rev ON api_keys (rev);

-- A value that proves that the pepper file is the one the keys were made with.
CREATE TABLE pepper_check (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mac BLOB NOT NULL
) STRICT;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('ok', 'refused')),
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_tenant ON audit (tenant_id, id);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
