-- Queries and dashboards that people keep. The definition is JSON: OQL, its JSON form or PromQL, never SQL. kind is query or dashboard,
-- sharing is private, team or tenant; team_id is '' unless it is team. The owner may be at home in another tenant, or gone.
CREATE TABLE saved (
    id TEXT COLLATE "C" PRIMARY KEY,
    tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    owner_user TEXT COLLATE "C" NOT NULL,
    sharing TEXT COLLATE "C" NOT NULL,
    team_id TEXT COLLATE "C" NOT NULL,
    definition TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX saved_of_tenant ON saved (tenant_id, kind);
