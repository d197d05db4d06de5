-- Sign-ins that failed, by account: a hash of slug and address, whether there is such an account or not. They count until the
-- unix milliseconds of until.
CREATE TABLE sign_in_failures (
    account BLOB PRIMARY KEY,
    failures INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_failures_until ON sign_in_failures (until);

-- Whether the session began with a second factor.
ALTER TABLE sessions ADD COLUMN second_factor INTEGER NOT NULL DEFAULT 0;
