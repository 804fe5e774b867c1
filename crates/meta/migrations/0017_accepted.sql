-- A pending snapshot whose create was answered before its manifests were written: it is shown, and never given up.
ALTER TABLE snapshots ADD COLUMN accepted BIGINT NOT NULL DEFAULT 0;
CREATE INDEX snapshots_accepted ON snapshots (create_ts) WHERE accepted = 1;
