-- Queries and dashboards that people keep. The definition is JSON: OQL, its JSON form or PromQL, never SQL. kind is query or dashboard,
-- sharing is private, team or tenant; team_id is '' unless it is team. The owner may be at home in another tenant, or gone.
CREATE TABLE saved (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    owner_user TEXT NOT NULL,
    sharing TEXT NOT NULL,
    team_id TEXT NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX saved_of_tenant ON saved (tenant_id, kind);
