-- Which of the operator's sets of query limits holds for a tenant and those below it; '' is that of the parent, or the default.
ALTER TABLE tenants ADD COLUMN query_tier TEXT NOT NULL DEFAULT '';
