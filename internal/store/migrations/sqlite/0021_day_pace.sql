-- How fast an account is used, as far as it is billed, by log: the bytes that were received in a slot of five minutes (unix seconds / 300),
-- the newest that has any, and in the slot before it.
ALTER TABLE day_use ADD COLUMN pace_slot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE day_use ADD COLUMN pace_now INTEGER NOT NULL DEFAULT 0;
ALTER TABLE day_use ADD COLUMN pace_before INTEGER NOT NULL DEFAULT 0;
