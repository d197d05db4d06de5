-- When a key last opened something, to about a minute. It is not a change: rev stays.
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
