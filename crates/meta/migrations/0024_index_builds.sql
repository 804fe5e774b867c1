-- Builds of indexes: one index of one field of one file of rows. The states are those of lifecycle::task.
CREATE TABLE index_builds (
    task_id        BIGINT PRIMARY KEY,
    collection_id  BIGINT NOT NULL,
    -- The definition that it is for, and the field of that.
    index_id       BIGINT NOT NULL,
    field_id       BIGINT NOT NULL,
    -- The file of rows, and its membership.
    segment_id     BIGINT NOT NULL,
    file_set_id    BIGINT NOT NULL,
    rows_num       BIGINT NOT NULL,
    state          TEXT   NOT NULL,
    attempt        BIGINT NOT NULL CHECK (attempt >= 0),
    generation     BIGINT NOT NULL CHECK (generation >= attempt),
    worker         TEXT,
    lease_until_ms BIGINT,
    not_before_ms  BIGINT,
    reason         TEXT,
    message        TEXT,
    created_ms     BIGINT NOT NULL,
    ended_ms       BIGINT,
    -- What the last claim writes.
    target_file_set_id BIGINT,
    CONSTRAINT index_builds_state CHECK (CASE state
        WHEN 'pending'     THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NULL AND not_before_ms IS NOT NULL
        WHEN 'in_progress' THEN worker IS NOT NULL AND lease_until_ms IS NOT NULL AND reason IS NULL
        WHEN 'completed'   THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NULL
        WHEN 'failed'      THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NOT NULL
        ELSE 1 = 0 END)
);
CREATE INDEX index_builds_pending ON index_builds (collection_id, task_id) WHERE state = 'pending';
CREATE INDEX index_builds_in_progress ON index_builds (task_id) WHERE state = 'in_progress';
CREATE INDEX index_builds_collection ON index_builds (collection_id, task_id);
CREATE INDEX index_builds_ended ON index_builds (ended_ms) WHERE ended_ms IS NOT NULL;
-- A file is indexed for a definition once at a time.
CREATE UNIQUE INDEX index_builds_open ON index_builds (segment_id, file_set_id, index_id) WHERE ended_ms IS NULL;
-- Few members are indexes.
CREATE INDEX memberships_indexes ON memberships (collection_id, segment_id) WHERE kind = 'index' AND removed_ts = 9223372036854775807;
