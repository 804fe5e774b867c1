-- Objects that the store did not delete when it was told to, until it does.
CREATE TABLE gc_failures (
    object_key TEXT   PRIMARY KEY,
    -- The claim of the last attempt.
    claim_id   BIGINT NOT NULL,
    fails_num  BIGINT NOT NULL,
    since_ms   BIGINT NOT NULL,
    -- Not attempted again before.
    retry_ms   BIGINT NOT NULL,
    why        TEXT   NOT NULL
);
