-- Compactions: files of one partition and shard become one, without the rows that are deleted.

-- Of a file of rows: every delete before this has been applied to it already; NULL: none, so that only deletes before its
-- base_ts have nothing to hide in it. Of a delete log: all its deletes are before this; NULL: it is not written down, and
-- follows from base_ts. Never decides what a reader sees, only how long a delete log is kept.
ALTER TABLE memberships ADD COLUMN deletes_before_ts BIGINT;
ALTER TABLE copy_items ADD COLUMN deletes_before_ts BIGINT;

-- What a user asked to be compacted.
CREATE TABLE compaction_jobs (
    job_id        BIGINT PRIMARY KEY,
    collection_id BIGINT NOT NULL,
    created_ms    BIGINT NOT NULL
);

-- The states are those of lifecycle::task.
CREATE TABLE compactions (
    task_id        BIGINT PRIMARY KEY,
    collection_id  BIGINT NOT NULL,
    partition_id   BIGINT NOT NULL,
    shard          BIGINT NOT NULL,
    -- NULL: nobody asked for it.
    job_id         BIGINT REFERENCES compaction_jobs,
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
    files_num      BIGINT NOT NULL,
    rows_num       BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    -- Of the last claim: the time as of which it reads, and what it writes.
    view_ts            BIGINT,
    target_segment_id  BIGINT,
    target_file_set_id BIGINT,
    -- What a completed one left; 0 rows: no file.
    rows_left  BIGINT,
    bytes_left BIGINT,
    CONSTRAINT compactions_state CHECK (CASE state
        WHEN 'pending'     THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NULL AND not_before_ms IS NOT NULL
        WHEN 'in_progress' THEN worker IS NOT NULL AND lease_until_ms IS NOT NULL AND reason IS NULL
        WHEN 'completed'   THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NULL
        WHEN 'failed'      THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NOT NULL
        ELSE 1 = 0 END)
);
CREATE INDEX compactions_pending ON compactions (collection_id, task_id) WHERE state = 'pending';
CREATE INDEX compactions_in_progress ON compactions (task_id) WHERE state = 'in_progress';
CREATE INDEX compactions_collection ON compactions (collection_id, task_id);
CREATE INDEX compactions_job ON compactions (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX compactions_ended ON compactions (ended_ms) WHERE ended_ms IS NOT NULL;

-- The memberships that a compaction replaces.
CREATE TABLE compaction_inputs (
    task_id     BIGINT NOT NULL REFERENCES compactions,
    segment_id  BIGINT NOT NULL,
    file_set_id BIGINT NOT NULL,
    PRIMARY KEY (task_id, segment_id, file_set_id)
);
CREATE INDEX compaction_inputs_file_set ON compaction_inputs (file_set_id);
