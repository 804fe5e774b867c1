-- Garbage collection: which references are released, what waits for deletion and what keeps it.

-- NULL: this membership is one of the references of its file set. Otherwise the release that took it back; like every id
-- it is ordered by time. Only what has ended is released.
ALTER TABLE memberships ADD COLUMN release_id BIGINT;
CREATE INDEX memberships_ended ON memberships (collection_id, removed_ts, added_ts)
    WHERE release_id IS NULL AND removed_ts < 9223372036854775807;
CREATE INDEX memberships_release ON memberships (release_id) WHERE release_id IS NOT NULL;

-- For whom it was written, later who released it last.
ALTER TABLE file_sets ADD COLUMN collection_id BIGINT;
-- 1: a user's own drop released it; the circuit breaker does not count it.
ALTER TABLE file_sets ADD COLUMN covered BIGINT NOT NULL DEFAULT 0;
-- The claim whose permits were given last, and when its objects were gone.
ALTER TABLE file_sets ADD COLUMN claim_id BIGINT;
ALTER TABLE file_sets ADD COLUMN gone_ms BIGINT;
CREATE INDEX file_sets_claim ON file_sets (claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX file_sets_gone ON file_sets (gone_ms) WHERE gone_ms IS NOT NULL;
UPDATE file_sets SET gone_ms = created_ms WHERE state = 'gone';
UPDATE file_sets SET collection_id = (SELECT MIN(m.collection_id) FROM memberships m WHERE m.file_set_id = file_sets.file_set_id)
    WHERE kind <> 'manifest';

-- 1: its user dropped it.
ALTER TABLE snapshots ADD COLUMN covered BIGINT NOT NULL DEFAULT 0;
CREATE INDEX snapshots_deleting ON snapshots (snapshot_id) WHERE state = 'deleting';

-- When everything of a dropped collection was released.
ALTER TABLE collections ADD COLUMN released_ms BIGINT;
-- Memberships that ended until then may be forgotten: what the collection was before is known by its snapshots alone.
ALTER TABLE collections ADD COLUMN forgotten_ts BIGINT NOT NULL DEFAULT 0;
CREATE INDEX collections_dropped ON collections (collection_id) WHERE state = 'dropped' AND released_ms IS NULL;
CREATE INDEX collections_released ON collections (released_ms) WHERE released_ms IS NOT NULL;

CREATE INDEX segments_dropped ON segments (segment_id) WHERE state = 'dropped';
-- Foreign keys that are looked up when rows end.
CREATE INDEX snapshot_file_sets_file_set ON snapshot_file_sets (file_set_id);
CREATE INDEX copy_items_source ON copy_items (source_file_set_id);
CREATE INDEX rollbacks_snapshot ON rollbacks (snapshot_id);

-- Deletes are frozen while frozen_ms is set.
CREATE TABLE gc_state (
    only_row  BIGINT PRIMARY KEY CHECK (only_row = 1),
    frozen_ms BIGINT,
    reason    TEXT
);
INSERT INTO gc_state (only_row, frozen_ms, reason) VALUES (1, NULL, NULL);

-- Nothing is deleted until then; NULL: of no collection.
CREATE TABLE gc_pauses (
    pause_id      BIGINT PRIMARY KEY,
    collection_id BIGINT,
    until_ms      BIGINT NOT NULL,
    created_ms    BIGINT NOT NULL,
    actor         TEXT   NOT NULL
);

-- Legal holds: without a snapshot nothing that the collection has or had is deleted, with one that snapshot stays.
CREATE TABLE gc_holds (
    hold_id       BIGINT PRIMARY KEY,
    collection_id BIGINT NOT NULL,
    snapshot_id   BIGINT,
    created_ms    BIGINT NOT NULL,
    actor         TEXT   NOT NULL,
    reason        TEXT   NOT NULL
);

-- What was claimed without a user's drop, for the circuit breaker.
CREATE TABLE gc_claims (
    claim_id      BIGINT NOT NULL,
    collection_id BIGINT NOT NULL,
    at_ms         BIGINT NOT NULL,
    objects_num   BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    PRIMARY KEY (claim_id, collection_id)
);
CREATE INDEX gc_claims_hour ON gc_claims (collection_id, at_ms);

-- Collections whose breaker is open.
CREATE TABLE gc_breakers (
    collection_id BIGINT PRIMARY KEY,
    opened_ms     BIGINT NOT NULL,
    objects_num   BIGINT NOT NULL,
    bytes         BIGINT NOT NULL
);

-- What an operator saw and may apply.
CREATE TABLE gc_plans (
    plan_id     BIGINT PRIMARY KEY,
    created_ms  BIGINT NOT NULL,
    actor       TEXT   NOT NULL,
    sets_num    BIGINT NOT NULL,
    objects_num BIGINT NOT NULL,
    bytes       BIGINT NOT NULL
);
CREATE TABLE gc_plan_items (
    plan_id     BIGINT NOT NULL REFERENCES gc_plans,
    file_set_id BIGINT NOT NULL,
    PRIMARY KEY (plan_id, file_set_id)
);

-- Every object that was claimed or is gone, every change of a brake. Only added to; old lines end with their retention.
CREATE TABLE gc_audit (
    audit_id    BIGINT PRIMARY KEY,
    at_ms       BIGINT NOT NULL,
    epoch       BIGINT NOT NULL,
    actor       TEXT   NOT NULL,
    action      TEXT   NOT NULL,
    collection_id BIGINT,
    file_set_id BIGINT,
    object_key  TEXT,
    size_bytes  BIGINT,
    checksum    TEXT,
    detail      TEXT   NOT NULL
);
CREATE INDEX gc_audit_key ON gc_audit (object_key, audit_id) WHERE object_key IS NOT NULL;

-- The oldest timestamp at which a node may still read a collection.
CREATE TABLE reader_leases (
    node          TEXT   NOT NULL,
    collection_id BIGINT NOT NULL,
    read_ts       BIGINT NOT NULL,
    until_ms      BIGINT NOT NULL,
    PRIMARY KEY (node, collection_id)
);
CREATE INDEX reader_leases_collection ON reader_leases (collection_id);
