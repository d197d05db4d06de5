-- Origins that browsers may use a key from, blank between; none is ''.
ALTER TABLE api_keys ADD COLUMN cors_origins TEXT NOT NULL DEFAULT '';
