-- Which runs of a log have their receipts in usage_hours: written in the same transaction, so a run is billed once however
-- often it is resolved. Ids are unsigned 64 bit numbers in two's complement.
CREATE TABLE applied_runs (
    log_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    PRIMARY KEY (log_id, run)
) STRICT, WITHOUT ROWID;

-- Runs of a log before this one count as applied: their rows are forgotten.
CREATE TABLE applied_logs (
    log_id TEXT PRIMARY KEY,
    forgotten_before INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
