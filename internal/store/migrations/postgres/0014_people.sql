-- People, what they may do, and where. Times are unix milliseconds; rev as in tenants.

-- A role of one tenant. The built-in ones are in the code, and named by their names wherever a role's id is meant.
CREATE TABLE roles (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    name TEXT COLLATE "C" NOT NULL,
    permissions TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    deleted_at BIGINT,
    rev BIGINT NOT NULL
);
CREATE UNIQUE INDEX roles_name ON roles (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX roles_rev ON roles (rev);

-- email_key is the address as it is compared. totp is sealed with a key of the pepper; it counts once totp_at is set.
-- generation counts what ends all sessions: another password, a second factor, deactivation.
CREATE TABLE users (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    email TEXT COLLATE "C" NOT NULL,
    email_key TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('invited', 'active', 'inactive')),
    role TEXT COLLATE "C" NOT NULL,
    password TEXT COLLATE "C" NOT NULL,
    totp BYTEA,
    totp_at BIGINT,
    totp_step BIGINT NOT NULL DEFAULT 0,
    issuer TEXT COLLATE "C" NOT NULL DEFAULT '',
    subject TEXT COLLATE "C" NOT NULL DEFAULT '',
    generation BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    deleted_at BIGINT,
    rev BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (tenant_id, email_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX users_subject ON users (tenant_id, issuer, subject) WHERE deleted_at IS NULL AND subject <> '';
CREATE INDEX users_rev ON users (rev);

CREATE TABLE recovery_codes (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    mac BYTEA NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (user_id, mac)
);

-- What lets its holder act once: an invitation or the setting of a new password. mac is of the token, which is nowhere.
CREATE TABLE tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('invitation', 'reset')),
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    mac BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX tokens_user ON tokens (user_id, kind);

-- Messages that wait to be sent.
CREATE TABLE outbox (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    kind TEXT COLLATE "C" NOT NULL,
    recipient TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    sent_at BIGINT,
    last_error TEXT COLLATE "C" NOT NULL DEFAULT ''
);
CREATE INDEX outbox_due ON outbox (next_at) WHERE sent_at IS NULL;

CREATE TABLE teams (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    name TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    deleted_at BIGINT,
    rev BIGINT NOT NULL
);
CREATE UNIQUE INDEX teams_name ON teams (tenant_id, name) WHERE deleted_at IS NULL;
CREATE INDEX teams_rev ON teams (rev);

-- Members and roles of a team change with its rev.
CREATE TABLE team_members (
    team_id TEXT COLLATE "C" NOT NULL REFERENCES teams (id),
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX team_members_user ON team_members (user_id);
CREATE TABLE team_roles (
    team_id TEXT COLLATE "C" NOT NULL REFERENCES teams (id),
    role TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (team_id, role)
);

-- Tenants that a user reaches beside the own one. A withdrawn grant stays, with its rev.
CREATE TABLE tenant_grants (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    granted_at BIGINT NOT NULL,
    granted_by TEXT COLLATE "C" NOT NULL,
    withdrawn_at BIGINT,
    rev BIGINT NOT NULL,
    PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX tenant_grants_rev ON tenant_grants (rev);

-- id is not the token, whose mac is kept. generation is the user's when the session began.
CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    mac BYTEA NOT NULL,
    generation BIGINT NOT NULL,
    acting TEXT COLLATE "C" NOT NULL,
    address TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    ended_at BIGINT,
    rev BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_rev ON sessions (rev);

-- Time-limited permission in a tenant. expires_at is set when it is approved, from seconds or until. What is active and past
-- expires_at is expired, whatever status says.
CREATE TABLE access_requests (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    user_email TEXT COLLATE "C" NOT NULL,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    note TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    permissions TEXT COLLATE "C" NOT NULL,
    seconds BIGINT NOT NULL,
    until BIGINT,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'active', 'rejected', 'revoked', 'expired')),
    requested_at BIGINT NOT NULL,
    expires_at BIGINT,
    decided_by TEXT COLLATE "C" NOT NULL DEFAULT '',
    decided_at BIGINT,
    rev BIGINT NOT NULL
);
CREATE INDEX access_requests_tenant ON access_requests (tenant_id, id);
CREATE INDEX access_requests_user ON access_requests (user_id);
CREATE INDEX access_requests_rev ON access_requests (rev);

CREATE TABLE email_domains (
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    domain TEXT COLLATE "C" NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, domain)
);

-- slug is what sign-in names the tenant by. second_factor: disabled, optional, admins or required.
ALTER TABLE tenants ADD COLUMN slug TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN owner_email TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN plan_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN edition_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN subscription_id TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN region TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN second_factor TEXT COLLATE "C" NOT NULL DEFAULT 'optional';
ALTER TABLE tenants ADD COLUMN max_users BIGINT;
ALTER TABLE tenants ADD COLUMN max_keys BIGINT;
UPDATE tenants SET slug = name;
CREATE UNIQUE INDEX tenants_slug ON tenants (slug) WHERE deleted_at IS NULL AND slug <> '';

-- A key may have two secrets for a while: the older one opens until old_until.
ALTER TABLE api_keys ADD COLUMN name TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN owner_user TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN old_mac BYTEA;
ALTER TABLE api_keys ADD COLUMN old_until BIGINT;

-- Who acted where, from where, and the chain: hash is over the entry and the hash of the one before it of the same tenant.
ALTER TABLE audit ADD COLUMN acting TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN address TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN hash BYTEA;
CREATE TABLE audit_heads (
    tenant_id TEXT COLLATE "C" PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL
);

-- What the deployment is, fixed at the first start.
CREATE TABLE deployment (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    region TEXT COLLATE "C" NOT NULL
);

-- Answers of creations that were asked for with an idempotency key.
CREATE TABLE idempotency (
    caller TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    request BYTEA NOT NULL,
    status BIGINT NOT NULL,
    answer BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (caller, name)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- How far the deletion of a tenant is: it goes on where it stopped, and ends with a report.
CREATE TABLE deletions (
    tenant_id TEXT COLLATE "C" PRIMARY KEY REFERENCES tenants (id),
    step TEXT COLLATE "C" NOT NULL,
    asked_by TEXT COLLATE "C" NOT NULL,
    asked_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    ended_at BIGINT,
    report TEXT COLLATE "C" NOT NULL
);
