-- What the requests of each log have taken from an account on a day (0 is 1970-01-01, in the owner's zone): a key's or a
-- tenant's, a tenant's with all that its descendants took; of a signal, or of all ('').
CREATE TABLE day_use (
    owner_id TEXT NOT NULL,
    is_key INTEGER NOT NULL CHECK (is_key IN (0, 1)),
    signal TEXT NOT NULL,
    day INTEGER NOT NULL,
    log_id TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (owner_id, is_key, signal, day, log_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_use_day ON day_use (day);
INSERT INTO day_use (owner_id, is_key, signal, day, log_id, bytes)
SELECT key_id, 1, '', hour / 86400, '', SUM(billed_bytes) FROM usage_hours
WHERE hour >= (SELECT MAX(hour) FROM usage_hours) - 259200 GROUP BY key_id, hour / 86400;
INSERT INTO day_use (owner_id, is_key, signal, day, log_id, bytes)
WITH RECURSIVE up (tenant_id, owner_id, depth) AS (
    SELECT DISTINCT tenant_id, tenant_id, 0 FROM usage_hours
    UNION ALL
    SELECT up.tenant_id, t.parent_id, up.depth + 1 FROM up JOIN tenants t ON t.id = up.owner_id
    WHERE t.parent_id IS NOT NULL AND up.depth < 64
)
SELECT up.owner_id, 0, '', h.hour / 86400, '', SUM(h.billed_bytes) FROM usage_hours h JOIN up ON up.tenant_id = h.tenant_id
WHERE h.hour >= (SELECT MAX(hour) FROM usage_hours) - 259200 GROUP BY up.owner_id, h.hour / 86400;

-- Up to how many bytes of an account's day each replica may use, by its log. Their sum is within the limit.
CREATE TABLE day_leases (
    owner_id TEXT NOT NULL,
    is_key INTEGER NOT NULL CHECK (is_key IN (0, 1)),
    signal TEXT NOT NULL,
    day INTEGER NOT NULL,
    log_id TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (owner_id, is_key, signal, day, log_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_leases_log ON day_leases (log_id, day);
CREATE INDEX day_leases_day ON day_leases (day);
