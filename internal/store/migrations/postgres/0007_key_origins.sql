-- Origins that browsers may use a key from, blank between; none is ''.
ALTER TABLE api_keys ADD COLUMN cors_origins TEXT COLLATE "C" NOT NULL DEFAULT '';
