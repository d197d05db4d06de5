-- When a key was last given another secret, and when the one before was last used since then. Unix milliseconds.
ALTER TABLE api_keys ADD COLUMN rotated_at INTEGER;
ALTER TABLE api_keys ADD COLUMN old_used_at INTEGER;
