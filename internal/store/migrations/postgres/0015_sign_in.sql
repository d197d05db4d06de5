-- Sign-ins that failed, by account: a hash of slug and address, whether there is such an account or not. They count until the
-- unix milliseconds of until.
CREATE TABLE sign_in_failures (
    account BYTEA PRIMARY KEY,
    failures BIGINT NOT NULL,
    until BIGINT NOT NULL
);
CREATE INDEX sign_in_failures_until ON sign_in_failures (until);

-- Whether the session began with a second factor.
ALTER TABLE sessions ADD COLUMN second_factor BIGINT NOT NULL DEFAULT 0;
