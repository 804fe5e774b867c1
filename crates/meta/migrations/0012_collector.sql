-- Drops of partitions that cost one row, the program that collected last, and snapshots that can come back.

-- Dropped partitions whose memberships do not all say so yet. Until then a membership of one that says that it holds ended
-- at dropped_ts all the same.
CREATE TABLE partition_drops (
    partition_id  BIGINT PRIMARY KEY REFERENCES partitions,
    collection_id BIGINT NOT NULL,
    dropped_ts    BIGINT NOT NULL,
    -- The last membership that was looked at: the next chunk goes on behind it.
    segment_id    BIGINT NOT NULL DEFAULT 0,
    file_set_id   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX partition_drops_collection ON partition_drops (collection_id, dropped_ts);

-- The program whose collector ran last. NULL: none did. A store that had coordinators before this table was collected by a
-- program that did not say what it is.
CREATE TABLE gc_program (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    program    TEXT,
    since_ms   BIGINT NOT NULL,
    -- 1: deletes were held for the whole root path since, after a takeover by force or a restored backup.
    held       BIGINT NOT NULL DEFAULT 0
);
INSERT INTO gc_program (only_row, program, since_ms)
    SELECT 1, CASE WHEN epoch > 0 THEN 'an earlier version' END, 0 FROM coordinator WHERE only_row = 1;

-- What a first run would have deleted that this pause is for, and why; NULL: an operator's pause.
ALTER TABLE gc_pauses ADD COLUMN plan_id BIGINT;
ALTER TABLE gc_pauses ADD COLUMN why TEXT;

-- Committed snapshots that were dropped, with what it takes to bring one back, for as long as that may be possible.
CREATE TABLE dropped_snapshots (
    snapshot_id   BIGINT PRIMARY KEY,
    collection_id BIGINT NOT NULL,
    name          TEXT   NOT NULL,
    description   TEXT   NOT NULL,
    create_ts     BIGINT NOT NULL,
    metadata_key  TEXT   NOT NULL,
    checksum      TEXT   NOT NULL,
    rows_num      BIGINT NOT NULL,
    files_num     BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    segments_num  BIGINT NOT NULL,
    compaction_protected_until_ms BIGINT NOT NULL,
    dropped_ms    BIGINT NOT NULL
);
CREATE INDEX dropped_snapshots_collection ON dropped_snapshots (collection_id, dropped_ms);
CREATE INDEX dropped_snapshots_dropped ON dropped_snapshots (dropped_ms);
-- Its manifests and its metadata object, those that were released: as in snapshot_file_sets.
CREATE TABLE dropped_snapshot_files (
    snapshot_id     BIGINT NOT NULL REFERENCES dropped_snapshots,
    file_set_id     BIGINT NOT NULL,
    ordinal         BIGINT,
    entries_added   BIGINT,
    entries_removed BIGINT,
    files_num       BIGINT,
    rows_num        BIGINT,
    bytes           BIGINT,
    PRIMARY KEY (snapshot_id, file_set_id)
);
