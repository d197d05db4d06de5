-- Names of the client certificates that a key is bound to, blank between; none is ''.
ALTER TABLE api_keys ADD COLUMN client_certs TEXT COLLATE "C" NOT NULL DEFAULT '';
