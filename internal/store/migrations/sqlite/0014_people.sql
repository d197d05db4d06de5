-- People, what they may do, and where. Times are unix milliseconds; rev as in tenants.

-- A role of one tenant. The built-in ones are in the code, and named by their names wherever a role's id is meant.
CREATE TABLE roles (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    deleted_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX roles_name ON roles (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX roles_rev ON roles (rev);

-- email_key is the address as it is compared. totp is sealed with a key of the pepper; it counts once totp_at is set.
-- generation counts what ends all sessions: another password, a second factor, deactivation.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('invited', 'active', 'inactive')),
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    totp BLOB,
    totp_at INTEGER,
    totp_step INTEGER NOT NULL DEFAULT 0,
    issuer TEXT NOT NULL DEFAULT '',
    subject TEXT NOT NULL DEFAULT '',
    generation INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    signed_in_at INTEGER,
    deleted_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_email ON users (tenant_id, email_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_subject ON users (tenant_id, issuer, subject) WHERE deleted_at IS NULL AND subject <> '';
CREATE INDEX users_rev ON users (rev);

CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES users (id),
    mac BLOB NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (user_id, mac)
) STRICT;

-- What lets its holder act once: an invitation or the setting of a new password. mac is of the token, which is nowhere.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('invitation', 'reset')),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    mac BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX tokens_user ON tokens (user_id, kind);

-- Messages that wait to be sent.
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    sent_at INTEGER,
    last_error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX outbox_due ON outbox (next_at) WHERE sent_at IS NULL;

CREATE TABLE teams (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    deleted_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX teams_name ON teams (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX teams_rev ON teams (rev);

-- Members and roles of a team change with its rev.
CREATE TABLE team_members (
    team_id TEXT NOT NULL REFERENCES teams (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (team_id, user_id)
) STRICT;
CREATE INDEX team_members_user ON team_members (user_id);
CREATE TABLE team_roles (
    team_id TEXT NOT NULL REFERENCES teams (id),
    role TEXT NOT NULL,
    PRIMARY KEY (team_id, role)
) STRICT;

-- Tenants that a user reaches beside the own one. A withdrawn grant stays, with its rev.
CREATE TABLE tenant_grants (
    user_id TEXT NOT NULL REFERENCES users (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    granted_at INTEGER NOT NULL,
    granted_by TEXT NOT NULL,
    withdrawn_at INTEGER,
    rev INTEGER NOT NULL,
    PRIMARY KEY (user_id, tenant_id)
) STRICT;
CREATE INDEX tenant_grants_rev ON tenant_grants (rev);

-- id is not the token, whose mac is kept. generation is the user's when the session began.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    mac BLOB NOT NULL,
    generation INTEGER NOT NULL,
    acting TEXT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    ended_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_rev ON sessions (rev);

-- Time-limited permission in a tenant. expires_at is set when it is approved, from seconds or until. What is active and past
-- expires_at is expired, whatever status says.
CREATE TABLE access_requests (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    user_email TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    note TEXT NOT NULL,
    role TEXT NOT NULL,
    permissions TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    until INTEGER,
    status TEXT NOT NULL CHECK (status IN ('pending', 'active', 'rejected', 'revoked', 'expired')),
    requested_at INTEGER NOT NULL,
    expires_at INTEGER,
    decided_by TEXT NOT NULL DEFAULT '',
    decided_at INTEGER,
    rev INTEGER NOT NULL
) STRICT;
CREATE INDEX access_requests_tenant ON access_requests (tenant_id, id);
CREATE INDEX access_requests_user ON access_requests (user_id);
CREATE INDEX access_requests_rev ON access_requests (rev);

CREATE TABLE email_domains (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    domain TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, domain)
) STRICT;

-- slug is what sign-in names the tenant by. second_factor: disabled, optional, admins or required.
ALTER TABLE tenants ADD COLUMN slug TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN owner_email TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN plan_id TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN edition_id TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN subscription_id TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN region TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN second_factor TEXT NOT NULL DEFAULT 'optional';
ALTER TABLE tenants ADD COLUMN max_users INTEGER;
ALTER TABLE tenants ADD COLUMN max_keys INTEGER;
UPDATE tenants SET slug = name;
CREATE UNIQUE INDEX tenants_slug ON tenants (slug) WHERE deleted_at IS NULL AND slug <> '';

-- A key may have two secrets for a while: the older one opens until old_until.
ALTER TABLE api_keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN owner_user TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN old_mac BLOB;
ALTER TABLE api_keys ADD COLUMN old_until INTEGER;

-- Who acted where, from where, and the chain: hash is over the entry and the hash of the one before it of the same tenant.
ALTER TABLE audit ADD COLUMN acting TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN hash BLOB;
CREATE TABLE audit_heads (
    tenant_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- What the deployment is, fixed at the first start.
CREATE TABLE deployment (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    region TEXT NOT NULL
) STRICT;

-- Answers of creations that were asked for with an idempotency key.
CREATE TABLE idempotency (
    caller TEXT NOT NULL,
    name TEXT NOT NULL,
    request BLOB NOT NULL,
    status INTEGER NOT NULL,
    answer BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (caller, name)
) STRICT;
CREATE INDEX idempotency_age ON idempotency (created_at);

-- How far the deletion of a tenant is: it goes on where it stopped, and ends with a report.
CREATE TABLE deletions (
    tenant_id TEXT PRIMARY KEY REFERENCES tenants (id),
    step TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    ended_at INTEGER,
    report TEXT NOT NULL
) STRICT;
