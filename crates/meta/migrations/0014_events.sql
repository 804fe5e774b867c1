-- What caused an event: a W3C trace context. NULL: nothing that is traced.
ALTER TABLE outbox ADD COLUMN traceparent TEXT;
