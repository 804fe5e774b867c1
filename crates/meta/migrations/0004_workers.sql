-- Data nodes that take work, and jobs that copy what a collection shares.

-- One row a process. A row whose lease is over is a node that nobody gives work to; it says nothing about the work that
-- the node has: that has leases and generations of its own.
CREATE TABLE workers (
    node_id        TEXT   PRIMARY KEY,
    -- Where its calls are answered, host:port; empty: only inside its own process.
    address        TEXT   NOT NULL,
    -- Copy tasks that it takes at a time.
    slots          BIGINT NOT NULL CHECK (slots >= 0),
    lease_until_ms BIGINT NOT NULL,
    started_ms     BIGINT NOT NULL
);
CREATE INDEX workers_lease ON workers (lease_until_ms);

-- What a job is for. A detach has no snapshot (id 0, no name): source and target are one live collection.
ALTER TABLE restore_jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'restore' CHECK (kind IN ('restore', 'detach'));
