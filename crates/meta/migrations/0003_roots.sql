-- What the owner's marker at the root path of the object store says (_elanus/owner.json there): for when the marker is gone,
-- and for holds that must be known before it is written. One row.
CREATE TABLE roots (
    root_id     BIGINT PRIMARY KEY CHECK (root_id = 1),
    -- Bucket and root path as a URL; NULL: this metadata never owned one.
    location    TEXT,
    epoch       BIGINT NOT NULL,
    marker_etag TEXT   NOT NULL,
    -- Why nothing is deleted; NULL: nothing holds deletes.
    hold        TEXT   CHECK (hold IN ('restored', 'quarantined')),
    -- The highest id that was given when the marker was written last: durable before the marker says it.
    meta_hwm    BIGINT NOT NULL
);
INSERT INTO roots (root_id, location, epoch, marker_etag, hold, meta_hwm) VALUES (1, NULL, 0, '', NULL, 0);
