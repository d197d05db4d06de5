-- Which runs of a log have their receipts in usage_hours: written in the same transaction, so a run is billed once however
-- often it is resolved. Ids are unsigned 64 bit numbers in two's complement.
CREATE TABLE applied_runs (
    log_id TEXT COLLATE "C" NOT NULL,
    run BIGINT NOT NULL,
    PRIMARY KEY (log_id, run)
);

-- Runs of a log before this one count as applied: their rows are forgotten.
CREATE TABLE applied_logs (
    log_id TEXT COLLATE "C" PRIMARY KEY,
    forgotten_before BIGINT NOT NULL
);
