-- Limits other than daily_bytes, as JSON, '' for none, and the time zone whose days count, '' for UTC.
ALTER TABLE tenants ADD COLUMN limits TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN time_zone TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN limits TEXT NOT NULL DEFAULT '';
