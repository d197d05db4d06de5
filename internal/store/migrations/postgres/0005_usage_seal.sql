-- Rows of usage_hours of hours before this one (unix seconds of its start) are final: whoever writes to usage_hours reads
-- it in the same transaction and moves what comes too late to this hour. No row: nothing is sealed yet.
CREATE TABLE usage_seal (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    through BIGINT NOT NULL CHECK (through % 3600 = 0)
);
