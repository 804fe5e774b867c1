-- Databases that come and go, and second names of collections.

ALTER TABLE databases ADD COLUMN properties_json TEXT NOT NULL DEFAULT '{}';
-- NULL: it is there. A dropped database keeps its row, because dropped collections belong to it; one that is created under
-- its name takes the row over, and with it what is in the trash.
ALTER TABLE databases ADD COLUMN dropped_ms BIGINT;

-- Of live collections only. No fact about a collection: neither a snapshot nor a rollback knows them.
CREATE TABLE aliases (
    database_id   BIGINT NOT NULL REFERENCES databases,
    name          TEXT   NOT NULL,
    collection_id BIGINT NOT NULL REFERENCES collections,
    created_ms    BIGINT NOT NULL,
    PRIMARY KEY (database_id, name)
);
CREATE INDEX aliases_collection ON aliases (collection_id);
