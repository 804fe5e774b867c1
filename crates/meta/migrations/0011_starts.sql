-- Every start that was given an epoch, by an id that no copy of this metadata gives again: the owner's marker says which start
-- wrote it. Kept since the marker was last seen to be written, and many before.
CREATE TABLE root_starts (
    epoch    BIGINT PRIMARY KEY,
    start_id TEXT   NOT NULL
);
-- roots.meta_hwm: from here on a counter, raised before every write of the marker, and never below the ids that were given.

-- Folders of former owners of the root path that an operator had emptied, or is having emptied.
CREATE TABLE purges (
    cluster_id  TEXT   PRIMARY KEY,
    state       TEXT   NOT NULL CHECK (state IN ('running', 'complete')),
    actor       TEXT   NOT NULL,
    started_ms  BIGINT NOT NULL,
    ended_ms    BIGINT,
    -- The last key that was queued; empty: the listing begins.
    after_key   TEXT   NOT NULL,
    -- The file sets of the page that is under way are from the first one to before the second.
    page_first  BIGINT NOT NULL,
    page_end    BIGINT NOT NULL,
    -- Queued so far.
    objects_num BIGINT NOT NULL,
    bytes       BIGINT NOT NULL
);
