-- From when the rows of a collection age that was brought back to a snapshot, and which of them had expired there.
ALTER TABLE collection_versions ADD COLUMN ages_from_ts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE collection_versions ADD COLUMN expired_before_ts BIGINT NOT NULL DEFAULT 0;
-- Rows of the target age from when they were written.
ALTER TABLE restore_jobs ADD COLUMN keeps_ages BIGINT NOT NULL DEFAULT 0;
-- What the claim of a compaction leaves out for its age.
ALTER TABLE compactions ADD COLUMN expired_before_ts BIGINT NOT NULL DEFAULT 0;
