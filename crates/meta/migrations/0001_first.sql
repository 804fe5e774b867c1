-- The metadata of one cluster. Times: *_ts are hybrid timestamps, *_ms milliseconds since 1970; 9223372036854775807 in
-- removed_ts means "still holds". Types are BIGINT and TEXT only: the same text runs on SQLite and PostgreSQL.

CREATE TABLE cluster (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    cluster_id TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

-- Whoever raised the epoch last coordinates; every writing transaction of a coordinator reads this row (fencing).
CREATE TABLE coordinator (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    epoch    BIGINT NOT NULL,
    holder   TEXT   NOT NULL
);
INSERT INTO coordinator (only_row, epoch, holder) VALUES (1, 0, '');

-- Ids of everything: never given twice, ordered by time.
CREATE TABLE id_counter (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    next_id  BIGINT NOT NULL
);
INSERT INTO id_counter (only_row, next_id) VALUES (1, 1);

CREATE TABLE databases (
    database_id BIGINT PRIMARY KEY,
    name        TEXT   NOT NULL UNIQUE,
    created_ms  BIGINT NOT NULL
);
INSERT INTO databases (database_id, name, created_ms) VALUES (1, 'default', 0);

-- One row a collection: identity, name, clock. `restoring` is reserved and hidden until its job publishes it.
CREATE TABLE collections (
    collection_id BIGINT PRIMARY KEY,
    database_id   BIGINT NOT NULL REFERENCES databases,
    name          TEXT   NOT NULL,
    state         TEXT   NOT NULL CHECK (state IN ('live', 'restoring', 'dropped')),
    -- The collection's clock: every commit to the collection locks this row and moves it.
    last_ts       BIGINT NOT NULL,
    created_ts    BIGINT NOT NULL,
    updated_ts    BIGINT NOT NULL,
    dropped_ts    BIGINT,
    loaded        BIGINT NOT NULL DEFAULT 0,
    job_id        BIGINT,
    -- Until then no write commits: a rollback is under way.
    held_until_ms  BIGINT NOT NULL DEFAULT 0,
    -- Until then a dropped collection may be brought back; NULL: it may not.
    trash_until_ms BIGINT,
    CHECK ((state = 'dropped') = (dropped_ts IS NOT NULL)),
    CHECK (trash_until_ms IS NULL OR state = 'dropped'),
    CHECK (state <> 'restoring' OR job_id IS NOT NULL)
);
CREATE UNIQUE INDEX collections_name ON collections (database_id, name) WHERE state <> 'dropped';

CREATE INDEX collections_trash ON collections (database_id, trash_until_ms) WHERE trash_until_ms IS NOT NULL;

-- Schema, properties and the rest that alter may change, as JSON.
CREATE TABLE collection_versions (
    collection_id BIGINT NOT NULL REFERENCES collections,
    added_ts      BIGINT NOT NULL,
    removed_ts    BIGINT NOT NULL,
    schema_json       TEXT   NOT NULL,
    shards_num        BIGINT NOT NULL CHECK (shards_num > 0),
    consistency_level BIGINT NOT NULL,
    properties_json   TEXT   NOT NULL,
    PRIMARY KEY (collection_id, added_ts),
    CHECK (added_ts < removed_ts)
);

CREATE TABLE partitions (
    partition_id  BIGINT PRIMARY KEY,
    collection_id BIGINT NOT NULL REFERENCES collections,
    name          TEXT   NOT NULL,
    added_ts      BIGINT NOT NULL,
    removed_ts    BIGINT NOT NULL,
    loaded        BIGINT NOT NULL DEFAULT 0,
    CHECK (added_ts < removed_ts)
);
CREATE UNIQUE INDEX partitions_name ON partitions (collection_id, name) WHERE removed_ts = 9223372036854775807;
CREATE INDEX partitions_collection ON partitions (collection_id, added_ts);

CREATE TABLE indexes (
    index_id      BIGINT PRIMARY KEY,
    collection_id BIGINT NOT NULL REFERENCES collections,
    field_id      BIGINT NOT NULL,
    name          TEXT   NOT NULL,
    params_json   TEXT   NOT NULL,
    added_ts      BIGINT NOT NULL,
    removed_ts    BIGINT NOT NULL,
    CHECK (added_ts < removed_ts)
);
CREATE UNIQUE INDEX indexes_name ON indexes (collection_id, name) WHERE removed_ts = 9223372036854775807;
CREATE INDEX indexes_collection ON indexes (collection_id, added_ts);

-- Groups of files of one (collection, partition, shard). Delete logs live in level l0; partition -1 means every partition.
CREATE TABLE segments (
    segment_id    BIGINT PRIMARY KEY,
    collection_id BIGINT NOT NULL REFERENCES collections,
    partition_id  BIGINT NOT NULL,
    shard         BIGINT NOT NULL CHECK (shard >= 0),
    level         TEXT   NOT NULL CHECK (level IN ('l0', 'l1')),
    state         TEXT   NOT NULL CHECK (state IN ('growing', 'flushed', 'dropped')),
    -- The node that appends to it; only while growing.
    writer        TEXT   CHECK (state = 'growing' OR writer IS NULL),
    rows_num      BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    created_ts    BIGINT NOT NULL
);
CREATE INDEX segments_growing ON segments (collection_id, partition_id, shard) WHERE state = 'growing';
CREATE INDEX segments_partition ON segments (collection_id, partition_id);

-- An immutable list of objects that come and go together. The states are those of lifecycle::file_set.
CREATE TABLE file_sets (
    file_set_id    BIGINT PRIMARY KEY,
    kind           TEXT   NOT NULL CHECK (kind IN ('insert', 'delete', 'index', 'manifest')),
    state          TEXT   NOT NULL,
    refs           BIGINT NOT NULL CHECK (refs >= 0),
    owner          TEXT,
    lease_until_ms BIGINT,
    not_before_ms  BIGINT,
    reason         TEXT,
    claimed_ever   BIGINT NOT NULL DEFAULT 0,
    ever_live      BIGINT NOT NULL DEFAULT 0,
    job_id         BIGINT,
    task_id        BIGINT,
    created_ms     BIGINT NOT NULL,
    CONSTRAINT file_sets_state CHECK (CASE state
        WHEN 'intent'   THEN refs = 0 AND owner IS NOT NULL AND lease_until_ms IS NOT NULL AND ever_live = 0
        WHEN 'live'     THEN refs > 0 AND ever_live = 1
        WHEN 'queued'   THEN refs = 0 AND not_before_ms IS NOT NULL AND reason IS NOT NULL
        WHEN 'deleting' THEN refs = 0 AND claimed_ever = 1
        WHEN 'gone'     THEN refs = 0 AND claimed_ever = 1
        ELSE 1 = 0 END)
);
CREATE INDEX file_sets_lease ON file_sets (lease_until_ms) WHERE state = 'intent';
CREATE INDEX file_sets_queue ON file_sets (not_before_ms) WHERE state = 'queued';
CREATE INDEX file_sets_deleting ON file_sets (file_set_id) WHERE state = 'deleting';
CREATE INDEX file_sets_job ON file_sets (job_id) WHERE job_id IS NOT NULL;

-- Every key that Elanus ever meant to write; size and checksum are known when the set is live.
CREATE TABLE objects (
    object_key  TEXT   PRIMARY KEY,
    file_set_id BIGINT NOT NULL REFERENCES file_sets,
    ordinal     BIGINT NOT NULL,
    size_bytes  BIGINT,
    checksum    TEXT
);
CREATE UNIQUE INDEX objects_file_set ON objects (file_set_id, ordinal);

-- The membership of a file set in a segment, visible in [added_ts, removed_ts).
CREATE TABLE memberships (
    segment_id    BIGINT NOT NULL REFERENCES segments,
    file_set_id   BIGINT NOT NULL REFERENCES file_sets,
    collection_id BIGINT NOT NULL REFERENCES collections,
    partition_id  BIGINT NOT NULL,
    shard         BIGINT NOT NULL,
    kind          TEXT   NOT NULL CHECK (kind IN ('insert', 'delete', 'index')),
    -- A row's timestamp is base_ts plus its offset in the file; restore keeps it.
    base_ts       BIGINT NOT NULL,
    rows_num      BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    added_ts      BIGINT NOT NULL,
    removed_ts    BIGINT NOT NULL,
    PRIMARY KEY (segment_id, file_set_id),
    CHECK (added_ts < removed_ts)
);
CREATE INDEX memberships_added ON memberships (collection_id, added_ts);
CREATE INDEX memberships_removed ON memberships (collection_id, removed_ts);
CREATE INDEX memberships_file_set ON memberships (file_set_id);

-- The states are those of lifecycle::snapshot.
CREATE TABLE snapshots (
    snapshot_id    BIGINT PRIMARY KEY,
    collection_id  BIGINT NOT NULL REFERENCES collections,
    name           TEXT   NOT NULL,
    description    TEXT   NOT NULL,
    create_ts      BIGINT NOT NULL,
    state          TEXT   NOT NULL,
    owner          TEXT,
    lease_until_ms BIGINT,
    metadata_key   TEXT,
    checksum       TEXT,
    compaction_protected_until_ms BIGINT NOT NULL,
    idempotency_key TEXT,
    rows_num       BIGINT,
    files_num      BIGINT,
    bytes          BIGINT,
    CONSTRAINT snapshots_state CHECK (CASE state
        WHEN 'pending'   THEN owner IS NOT NULL AND lease_until_ms IS NOT NULL AND metadata_key IS NULL
        WHEN 'committed' THEN owner IS NULL AND lease_until_ms IS NULL AND metadata_key IS NOT NULL AND checksum IS NOT NULL
        WHEN 'deleting'  THEN owner IS NULL AND lease_until_ms IS NULL
        ELSE 1 = 0 END)
);
CREATE UNIQUE INDEX snapshots_name ON snapshots (collection_id, name) WHERE state <> 'deleting';
CREATE INDEX snapshots_interval ON snapshots (collection_id, create_ts);
CREATE INDEX snapshots_pending ON snapshots (lease_until_ms) WHERE state = 'pending';

-- File sets that hold a snapshot's manifests and metadata object.
CREATE TABLE snapshot_file_sets (
    snapshot_id BIGINT NOT NULL REFERENCES snapshots,
    file_set_id BIGINT NOT NULL REFERENCES file_sets,
    PRIMARY KEY (snapshot_id, file_set_id)
);

-- Rollbacks that happened: the collection holds since rollback_ts what it held at snapshot_ts.
CREATE TABLE rollbacks (
    collection_id      BIGINT NOT NULL REFERENCES collections,
    rollback_ts        BIGINT NOT NULL,
    snapshot_id        BIGINT NOT NULL REFERENCES snapshots,
    snapshot_ts        BIGINT NOT NULL,
    safety_snapshot_id BIGINT NOT NULL UNIQUE REFERENCES snapshots,
    PRIMARY KEY (collection_id, rollback_ts)
);

CREATE TABLE pins (
    pin_id      BIGINT PRIMARY KEY,
    snapshot_id BIGINT NOT NULL REFERENCES snapshots,
    owner       TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL,
    -- NULL: until it is released.
    expires_ms  BIGINT,
    -- A job's pin lives exactly as long as the job.
    job_id      BIGINT
);
CREATE INDEX pins_snapshot ON pins (snapshot_id);

-- The states are those of lifecycle::restore_job.
CREATE TABLE restore_jobs (
    job_id               BIGINT PRIMARY KEY,
    snapshot_id          BIGINT NOT NULL,
    snapshot_name        TEXT   NOT NULL,
    source_collection_id BIGINT NOT NULL,
    source_name          TEXT   NOT NULL,
    source_database      TEXT   NOT NULL,
    target_collection_id BIGINT NOT NULL,
    target_name          TEXT   NOT NULL,
    target_database      TEXT   NOT NULL,
    state                TEXT   NOT NULL,
    reason               TEXT,
    message              TEXT,
    files_total          BIGINT NOT NULL DEFAULT 0,
    bytes_total          BIGINT NOT NULL DEFAULT 0,
    -- Highest progress ever shown: what users see never falls.
    files_done           BIGINT NOT NULL DEFAULT 0,
    bytes_done           BIGINT NOT NULL DEFAULT 0,
    started_ms           BIGINT NOT NULL,
    deadline_ms          BIGINT NOT NULL,
    ended_ms             BIGINT,
    CONSTRAINT restore_jobs_state CHECK (CASE state
        WHEN 'pending'    THEN reason IS NULL AND ended_ms IS NULL
        WHEN 'copying'    THEN reason IS NULL AND ended_ms IS NULL
        WHEN 'publishing' THEN reason IS NULL AND ended_ms IS NULL
        WHEN 'completed'  THEN reason IS NULL AND ended_ms IS NOT NULL
        WHEN 'failing'    THEN reason IS NOT NULL AND ended_ms IS NULL
        WHEN 'failed'     THEN reason IS NOT NULL AND ended_ms IS NOT NULL
        ELSE 1 = 0 END)
);
CREATE INDEX restore_jobs_open ON restore_jobs (job_id) WHERE ended_ms IS NULL;
CREATE INDEX restore_jobs_target ON restore_jobs (target_collection_id);

-- The states are those of lifecycle::copy_task.
CREATE TABLE copy_tasks (
    task_id        BIGINT PRIMARY KEY,
    job_id         BIGINT NOT NULL REFERENCES restore_jobs,
    state          TEXT   NOT NULL,
    attempt        BIGINT NOT NULL CHECK (attempt >= 0),
    generation     BIGINT NOT NULL CHECK (generation >= attempt),
    worker         TEXT,
    lease_until_ms BIGINT,
    not_before_ms  BIGINT,
    reason         TEXT,
    message        TEXT,
    files_total    BIGINT NOT NULL,
    bytes_total    BIGINT NOT NULL,
    files_done     BIGINT NOT NULL DEFAULT 0,
    bytes_done     BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT copy_tasks_state CHECK (CASE state
        WHEN 'pending'     THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NULL AND not_before_ms IS NOT NULL
        WHEN 'in_progress' THEN worker IS NOT NULL AND lease_until_ms IS NOT NULL AND reason IS NULL
        WHEN 'completed'   THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NULL
        WHEN 'failed'      THEN worker IS NULL     AND lease_until_ms IS NULL     AND reason IS NOT NULL
        ELSE 1 = 0 END)
);
CREATE INDEX copy_tasks_job ON copy_tasks (job_id);
CREATE INDEX copy_tasks_pending ON copy_tasks (not_before_ms) WHERE state = 'pending';
CREATE INDEX copy_tasks_lease ON copy_tasks (lease_until_ms) WHERE state = 'in_progress';

-- The plan of a copy task: one row a source file set, with where its copy will belong. Keys are planned at each claim.
CREATE TABLE copy_items (
    task_id             BIGINT NOT NULL REFERENCES copy_tasks,
    source_file_set_id  BIGINT NOT NULL REFERENCES file_sets,
    source_segment_id   BIGINT NOT NULL,
    job_id              BIGINT NOT NULL,
    target_segment_id   BIGINT NOT NULL,
    target_partition_id BIGINT NOT NULL,
    shard               BIGINT NOT NULL,
    kind                TEXT   NOT NULL,
    base_ts             BIGINT NOT NULL,
    rows_num            BIGINT NOT NULL,
    bytes               BIGINT NOT NULL,
    -- The file set of the task's current generation; NULL before the first claim.
    target_file_set_id  BIGINT,
    PRIMARY KEY (task_id, source_file_set_id, source_segment_id)
);
CREATE INDEX copy_items_job ON copy_items (job_id);

-- What happened to each thing, for people: written by the one function that moves a state machine.
CREATE TABLE history (
    history_id BIGINT PRIMARY KEY,
    at_ms      BIGINT NOT NULL,
    machine    TEXT   NOT NULL,
    subject_id BIGINT NOT NULL,
    event      TEXT   NOT NULL,
    from_state TEXT   NOT NULL,
    to_state   TEXT   NOT NULL,
    detail     TEXT   NOT NULL
);
CREATE INDEX history_subject ON history (machine, subject_id, history_id);

-- Events to publish, written in the transaction of their fact.
CREATE TABLE outbox (
    event_id     BIGINT PRIMARY KEY,
    subject      TEXT NOT NULL,
    dedup_key    TEXT NOT NULL UNIQUE,
    payload_json TEXT NOT NULL
);
