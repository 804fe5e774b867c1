-- The request that made a snapshot, as W3C trace context, where its manifests are written after the answer: whoever writes
-- them, in whatever process, goes on with its trace. NULL: they were written before it, nobody traces, or it is older.
ALTER TABLE snapshots ADD COLUMN traceparent TEXT;
