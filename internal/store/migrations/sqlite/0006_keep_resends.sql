-- Whether a request that a tenant's agents send again is stored again.
ALTER TABLE tenants ADD COLUMN keep_resends INTEGER NOT NULL DEFAULT 0 CHECK (keep_resends IN (0, 1));
