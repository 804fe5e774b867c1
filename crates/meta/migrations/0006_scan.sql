-- Scans of the bucket for objects that nothing knows, one row each. What a scan saw counts when it is complete.
CREATE TABLE scans (
    scan_id     BIGINT PRIMARY KEY,
    state       TEXT   NOT NULL CHECK (state IN ('requested', 'running', 'complete', 'discarded')),
    -- Of the coordinator that runs it.
    epoch       BIGINT NOT NULL,
    started_ms  BIGINT,
    ended_ms    BIGINT,
    pages_num   BIGINT NOT NULL DEFAULT 0,
    listed_num  BIGINT NOT NULL DEFAULT 0,
    listed_bytes BIGINT NOT NULL DEFAULT 0,
    -- Objects whose file set is gone, and objects that no row ever mentioned.
    orphans_num BIGINT NOT NULL DEFAULT 0,
    unknown_num BIGINT NOT NULL DEFAULT 0,
    orphans_bytes BIGINT NOT NULL DEFAULT 0,
    -- Live objects that are not there.
    missing_num BIGINT NOT NULL DEFAULT 0,
    -- Too many candidates: nothing is deleted until somebody says so.
    held        BIGINT NOT NULL DEFAULT 0,
    accepted_ms BIGINT,
    message     TEXT   NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX scans_open ON scans (state) WHERE state IN ('requested', 'running');
CREATE INDEX scans_complete ON scans (scan_id) WHERE state = 'complete';

-- Objects in the bucket that nothing knows.
CREATE TABLE orphans (
    object_key   TEXT   PRIMARY KEY,
    size_bytes   BIGINT NOT NULL,
    modified_ms  BIGINT NOT NULL,
    -- The file set that is gone; NULL: no row ever mentioned the key.
    tombstone_id BIGINT,
    -- The last scan that saw it, whatever became of that scan.
    seen_scan_id BIGINT NOT NULL,
    -- Starts of the first and the last complete scan that saw it as it is, and their number.
    first_ms     BIGINT,
    last_ms      BIGINT,
    scans_num    BIGINT NOT NULL DEFAULT 0,
    -- Somebody allowed that it is deleted although no row ever mentioned it.
    allowed_ms   BIGINT,
    -- Found after the metadata was restored from a backup: until then it is not deleted, whoever allows it.
    kept_until_ms BIGINT,
    -- The file set in the deletion queue.
    queued_as    BIGINT
);
CREATE INDEX orphans_seen ON orphans (seen_scan_id);
CREATE INDEX orphans_waiting ON orphans (object_key) WHERE queued_as IS NULL;
CREATE INDEX orphans_queued ON orphans (queued_as) WHERE queued_as IS NOT NULL;

-- Reasons for which nothing is deleted at present.
CREATE TABLE delete_freezes (
    source   TEXT   PRIMARY KEY,
    since_ms BIGINT NOT NULL,
    why      TEXT   NOT NULL
);

-- A metadata store that is being made from the snapshots in the bucket; no coordinator starts on it before it is whole.
CREATE TABLE rebuild (
    only_row   BIGINT PRIMARY KEY CHECK (only_row = 1),
    started_ms BIGINT NOT NULL,
    ended_ms   BIGINT
);

-- Who names a file set: for the recount of references.
CREATE INDEX IF NOT EXISTS snapshot_file_sets_file_set ON snapshot_file_sets (file_set_id);
