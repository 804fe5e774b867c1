-- The files of a collection are listed page by page, in the order of partitions and segments.
DROP INDEX segments_partition;
CREATE INDEX segments_partition ON segments (collection_id, partition_id, segment_id);
