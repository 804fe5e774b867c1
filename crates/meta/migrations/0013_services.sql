-- Every process of a cluster, and who coordinates it.

-- The registry of data nodes becomes that of all services: a row for each process, whatever it is. Its name stays: processes
-- of before the migration go on writing to it.
ALTER TABLE workers ADD COLUMN kind TEXT NOT NULL DEFAULT 'datanode'
    CHECK (kind IN ('standalone', 'proxy', 'datacoord', 'datanode', 'querynode'));
-- Where health and metrics are told, host:port.
ALTER TABLE workers ADD COLUMN management TEXT NOT NULL DEFAULT '';
-- Of the program.
ALTER TABLE workers ADD COLUMN version TEXT NOT NULL DEFAULT '';
-- Of a coordinator that took over; 0: it stands by, or is no coordinator.
ALTER TABLE workers ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;

-- The lease of the active coordinator. It says when another one may take over, and proves nothing: that does the epoch.
-- Not in the row of the epoch, which every transaction of the coordinator locks.
CREATE TABLE coordination (
    only_row       BIGINT PRIMARY KEY CHECK (only_row = 1),
    -- Who coordinates, or is about to.
    holder         TEXT   NOT NULL,
    epoch          BIGINT NOT NULL,
    -- Raised by every renewal: who waits looks whether it moves, by a clock of its own.
    beat           BIGINT NOT NULL,
    -- 0: given back.
    lease_until_ms BIGINT NOT NULL
);
INSERT INTO coordination (only_row, holder, epoch, beat, lease_until_ms) VALUES (1, '', 0, 0, 0);
