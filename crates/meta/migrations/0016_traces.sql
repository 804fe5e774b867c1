-- The request that made a job, as W3C trace context: whoever goes on with the job, in whatever process, goes on with its
-- trace. NULL: nobody traces, or the job is older.
ALTER TABLE restore_jobs ADD COLUMN traceparent TEXT;
